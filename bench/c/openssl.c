/* Loops over OpenSSL's libcrypto, as a program in C would write them: the low-level functions, EVP with one context and
 * one fetched algorithm for all, and the functions that hash in one call. All return 1, or 0 where there is no such
 * function. Banks are numbered as in csrc/api.h. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <string.h>

static const char *const names[] = {"SHA1", "SHA256", "SHA384", "SHA512", "SM3"};
static const uint32_t sizes[] = {20, 32, 48, 64, 32};

/* The message value || digest lies in one buffer, where the new value takes the place of the old one. */
#define LOW_LEVEL(bank, hash, context, size)                                                                       \
  static void extend_##bank(const uint8_t *digests, const uint64_t *chain_at, uint64_t chains, uint8_t *values) {  \
    uint8_t message[2 * size];                                                                                     \
    for (uint64_t c = 0; c < chains; c++) {                                                                        \
      memcpy(message, values + c * size, size);                                                                    \
      for (uint64_t d = chain_at[c]; d < chain_at[c + 1]; d++) {                                                   \
        context ctx;                                                                                               \
        memcpy(message + size, digests + d * size, size);                                                          \
        hash##_Init(&ctx);                                                                                         \
        hash##_Update(&ctx, message, 2 * size);                                                                    \
        hash##_Final(message, &ctx);                                                                               \
      }                                                                                                            \
      memcpy(values + c * size, message, size);                                                                    \
    }                                                                                                              \
  }                                                                                                                \
  static void hash_##bank(const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests) {             \
    for (uint64_t i = 0; i < n; i++) {                                                                             \
      context ctx;                                                                                                 \
      hash##_Init(&ctx);                                                                                           \
      hash##_Update(&ctx, blob + offsets[i], (size_t)(offsets[i + 1] - offsets[i]));                               \
      hash##_Final(digests + i * size, &ctx);                                                                      \
    }                                                                                                              \
  }                                                                                                                \
  static void hash_once_##bank(const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests) {        \
    for (uint64_t i = 0; i < n; i++) {                                                                             \
      hash(blob + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), digests + i * size);                          \
    }                                                                                                              \
  }

LOW_LEVEL(sha1, SHA1, SHA_CTX, 20)
LOW_LEVEL(sha256, SHA256, SHA256_CTX, 32)
LOW_LEVEL(sha384, SHA384, SHA512_CTX, 48)
LOW_LEVEL(sha512, SHA512, SHA512_CTX, 64)

typedef void extend_loop(const uint8_t *, const uint64_t *, uint64_t, uint8_t *);
typedef void hash_loop(const uint8_t *, const int64_t *, uint64_t, uint8_t *);

/* SM3 has no public low-level functions. */
int openssl_extend(uint32_t bank, const uint8_t *digests, const uint64_t *chain_at, uint64_t chains, uint8_t *values) {
  static extend_loop *const loops[] = {extend_sha1, extend_sha256, extend_sha384, extend_sha512};
  if (bank >= sizeof loops / sizeof *loops) {
    return 0;
  }
  loops[bank](digests, chain_at, chains, values);
  return 1;
}

int openssl_hash(uint32_t bank, const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests) {
  static hash_loop *const loops[] = {hash_sha1, hash_sha256, hash_sha384, hash_sha512};
  if (bank >= sizeof loops / sizeof *loops) {
    return 0;
  }
  loops[bank](blob, offsets, n, digests);
  return 1;
}

int openssl_evp_extend(uint32_t bank, const uint8_t *digests, const uint64_t *chain_at, uint64_t chains,
                       uint8_t *values) {
  EVP_MD *md = EVP_MD_fetch(NULL, names[bank], NULL);
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  uint32_t size = sizes[bank];
  uint8_t message[2 * EVP_MAX_MD_SIZE];
  int good = md && ctx;
  for (uint64_t c = 0; good && c < chains; c++) {
    memcpy(message, values + c * size, size);
    for (uint64_t d = chain_at[c]; good && d < chain_at[c + 1]; d++) {
      memcpy(message + size, digests + d * size, size);
      good = EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, message, 2 * size) &&
             EVP_DigestFinal_ex(ctx, message, NULL);
    }
    memcpy(values + c * size, message, size);
  }
  EVP_MD_CTX_free(ctx);
  EVP_MD_free(md);
  return good;
}

int openssl_evp_hash(uint32_t bank, const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests) {
  EVP_MD *md = EVP_MD_fetch(NULL, names[bank], NULL);
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  int good = md && ctx;
  for (uint64_t i = 0; good && i < n; i++) {
    good = EVP_DigestInit_ex(ctx, md, NULL) &&
           EVP_DigestUpdate(ctx, blob + offsets[i], (size_t)(offsets[i + 1] - offsets[i])) &&
           EVP_DigestFinal_ex(ctx, digests + i * sizes[bank], NULL);
  }
  EVP_MD_CTX_free(ctx);
  EVP_MD_free(md);
  return good;
}

int openssl_hash_once(uint32_t bank, const uint8_t *blob, const int64_t *offsets, uint64_t n, uint8_t *digests) {
  static hash_loop *const loops[] = {hash_once_sha1, hash_once_sha256, hash_once_sha384, hash_once_sha512};
  if (bank < sizeof loops / sizeof *loops) {
    loops[bank](blob, offsets, n, digests);
    return 1;
  }
  EVP_MD *md = EVP_MD_fetch(NULL, names[bank], NULL);
  int good = md != NULL;
  for (uint64_t i = 0; good && i < n; i++) {
    good = EVP_Digest(blob + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), digests + i * sizes[bank], NULL, md,
                      NULL);
  }
  EVP_MD_free(md);
  return good;
}
