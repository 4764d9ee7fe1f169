/* What the hash files share: the contract of a variant, byte order, padding. Included by the core only. */
#ifndef PV_HASH_H
#define PV_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One way to compute the hash of a bank.
 *   extend  pcr := H(pcr || d) for n digests that lie one after the other
 *   hash    digest := H(message) */
typedef struct {
  const char *name;
  void (*extend)(uint8_t *pcr, const uint8_t *digests, uint64_t n);
  void (*hash)(const uint8_t *message, uint64_t size, uint8_t *digest);
} pv_hash_variant;

extern const uint32_t pv_sha256_iv[8], pv_sha256_k[64], pv_sha256_padding_kw[64];
extern const uint64_t pv_sha384_iv[8], pv_sha512_iv[8], pv_sha512_k[80], pv_sha512_padding_kw[80];
extern const uint32_t pv_sm3_iv[8], pv_sm3_t[64], pv_sm3_padding_w[64], pv_sm3_padding_wx[64];

void pv_sha1_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n);
void pv_sha1_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest);
void pv_sha256_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n);
void pv_sha256_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest);
void pv_sha384_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n);
void pv_sha384_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest);
void pv_sha512_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n);
void pv_sha512_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest);
void pv_sm3_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n);
void pv_sm3_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest);

/* Compilers make one load and one byte swap of these. */
static inline uint32_t pv_be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t pv_be64(const uint8_t *p) { return (uint64_t)pv_be32(p) << 32 | pv_be32(p + 4); }

static inline void pv_put_be32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static inline void pv_put_be64(uint8_t *p, uint64_t v) {
  pv_put_be32(p, (uint32_t)(v >> 32));
  pv_put_be32(p + 4, (uint32_t)v);
}

static inline uint32_t pv_rol32(uint32_t x, unsigned n) { return x << (n & 31) | x >> (-n & 31); }
static inline uint64_t pv_ror64(uint64_t x, unsigned n) { return x >> (n & 63) | x << (-n & 63); }

/* Builds the last one or two blocks of a message in `tail` (two blocks of room): what is left of it, 0x80, zeros and
 * the length in bits, big-endian. Returns how many blocks. A message here is far below 2^61 bytes, so the upper half
 * of SHA-512's 128-bit length is zero. */
static inline unsigned pv_pad(uint8_t *tail, const uint8_t *rest, size_t rest_size, uint64_t message_size,
                              size_t block_size) {
  unsigned blocks = rest_size + 1 + block_size / 8 > block_size ? 2 : 1;
  memset(tail, 0, blocks * block_size);
  if (rest_size) {
    memcpy(tail, rest, rest_size);
  }
  tail[rest_size] = 0x80;
  pv_put_be64(tail + blocks * block_size - 8, message_size * 8);
  return blocks;
}

#endif
