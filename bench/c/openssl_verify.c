/* Signatures verified one after the other as a program in C would do it with OpenSSL 3: d2i_PUBKEY where the key is
 * another than before, one context a signature. Signatures are raw RSA, or DER for curves. */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdint.h>

/* scheme: TPM_ALG_ID. Returns how many are good. */
uint64_t openssl_verify(uint32_t scheme, uint32_t digest_size, const uint8_t *keys, const int64_t *key_offsets,
                        const uint32_t *key, const uint8_t *signatures, const int64_t *signature_offsets,
                        const uint8_t *digests, uint64_t n) {
  const EVP_MD *hash = digest_size == 48 ? EVP_sha384() : EVP_sha256();
  EVP_PKEY *parsed = NULL;
  uint64_t good = 0;
  for (uint64_t i = 0; i < n; i++) {
    if (!parsed || key[i] != key[i - 1]) {
      const uint8_t *der = keys + key_offsets[key[i]];
      EVP_PKEY_free(parsed);
      parsed = d2i_PUBKEY(NULL, &der, (long)(key_offsets[key[i] + 1] - key_offsets[key[i]]));
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(parsed, NULL);
    int ready = context && EVP_PKEY_verify_init(context) == 1;
    if (ready && (scheme == 0x14 || scheme == 0x16)) {
      ready = EVP_PKEY_CTX_set_rsa_padding(context, scheme == 0x14 ? RSA_PKCS1_PADDING : RSA_PKCS1_PSS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_signature_md(context, hash) == 1;
      if (ready && scheme == 0x16) {
        ready = EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) == 1;
      }
    }
    good += ready && EVP_PKEY_verify(context, signatures + signature_offsets[i],
                                     (size_t)(signature_offsets[i + 1] - signature_offsets[i]), digests + 64 * i,
                                     digest_size) == 1;
    EVP_PKEY_CTX_free(context);
  }
  EVP_PKEY_free(parsed);
  return good;
}
