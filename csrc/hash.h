/* What the hash files share: the contract of a kernel, byte order, padding. Included by the core only. */
#ifndef PV_HASH_H
#define PV_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
  PV_MAX_LANES = 16,
  PV_STATE_WORDS = 8, /* of any hash here; SHA-1 uses 5 */
};

/* A kernel advances N lanes, one hash each, together. Lane scheduling is written once, in lanes.c, above all kernels.
 *   state    native words, word-major: word w of lane l is state[w * N + l]; uint32_t, for SHA-384 and SHA-512
 *            uint64_t; aligned to 64 bytes
 *   extend   state holds PCR values (as big-endian words of the digest, so byte order is undone already): each lane
 *            i is extended by `steps` >= 1 digests that lie one after the other from digests[i] on
 *   compress state holds chaining values: each lane is advanced by n >= 1 blocks from blocks[i] on
 * Lanes that have nothing to do are given the pointer of one that has; nothing is read past what is asked for. A
 * kernel of vector registers leaves their upper halves clean (vzeroupper), whatever it is called from. */
typedef void pv_extend_lanes(void *state, const uint8_t *const *digests, uint64_t steps);
typedef void pv_compress_lanes(void *state, const uint8_t *const *blocks, uint64_t n);

extern const uint32_t pv_sha1_iv[5];
extern const uint32_t pv_sha256_iv[8], pv_sha256_k[64], pv_sha256_padding_kw[64];
extern const uint64_t pv_sha384_iv[8], pv_sha512_iv[8], pv_sha512_k[80], pv_sha512_padding_kw[80];
extern const uint32_t pv_sm3_iv[8], pv_sm3_t[64], pv_sm3_padding_w[64], pv_sm3_padding_wx[64];

pv_extend_lanes pv_sha1_extend_portable, pv_sha256_extend_portable, pv_sha384_extend_portable;
pv_extend_lanes pv_sha512_extend_portable, pv_sm3_extend_portable;
pv_compress_lanes pv_sha1_compress_portable, pv_sha256_compress_portable, pv_sha512_compress_portable;
pv_compress_lanes pv_sm3_compress_portable;

/* x86-64; each exists where the compiler could build it (PV_HAVE_*). The number is that of the lanes where it is not
 * that of the register. */
pv_extend_lanes pv_sha256_extend_shani, pv_sha256_extend_shani2, pv_sha256_extend_shani4;
pv_compress_lanes pv_sha256_compress_shani, pv_sha256_compress_shani2, pv_sha256_compress_shani4;
pv_extend_lanes pv_sha1_extend_avx2, pv_sha256_extend_avx2, pv_sha384_extend_avx2, pv_sha512_extend_avx2;
pv_compress_lanes pv_sha1_compress_avx2, pv_sha256_compress_avx2, pv_sha512_compress_avx2;
pv_extend_lanes pv_sm3_extend_avx2, pv_sm3_extend_avx512vl, pv_sm3_extend_avx512;
pv_compress_lanes pv_sm3_compress_avx2, pv_sm3_compress_avx512vl, pv_sm3_compress_avx512;
pv_extend_lanes pv_sha256_extend_avx512vl, pv_sha256_extend_avx512;
pv_compress_lanes pv_sha256_compress_avx512vl, pv_sha256_compress_avx512;
pv_extend_lanes pv_sha1_extend_avx512, pv_sha384_extend_avx512, pv_sha512_extend_avx512;
pv_compress_lanes pv_sha1_compress_avx512, pv_sha512_compress_avx512;

/* aarch64 */
pv_extend_lanes pv_sha256_extend_armv8, pv_sha256_extend_neon, pv_sm3_extend_armv8, pv_sm3_extend_neon;
pv_compress_lanes pv_sha256_compress_armv8, pv_sha256_compress_neon, pv_sm3_compress_armv8, pv_sm3_compress_neon;

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

#endif
