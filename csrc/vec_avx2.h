/* Eight lanes of 32 bits in AVX2 registers: the vector operations of the *_lanes.h templates. A file compiled for
 * AVX-512VL gets its rotates and three-way logic at the same width. */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 8 };
#define VEC __m256i
#define ADD _mm256_add_epi32
#define XOR _mm256_xor_si256
#ifdef __AVX512VL__
#define XOR3(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0x96)
#define CH(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0xCA)
#define MAJ(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0xE8)
#define ROL(x, n) _mm256_rol_epi32(x, n)
#define ROR(x, n) _mm256_ror_epi32(x, n)
#else
#define XOR3(x, y, z) XOR(XOR(x, y), z)
#define CH(x, y, z) XOR(z, _mm256_and_si256(x, XOR(y, z)))
#define MAJ(x, y, z) _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
#define ROL(x, n) _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - (n)))
#define ROR(x, n) _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - (n)))
#endif
#define SHR(x, n) _mm256_srli_epi32(x, n)
#define SET1(x) _mm256_set1_epi32((int)(x))
#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_store_si256((__m256i *)(p), v)
#define LEAVE() _mm256_zeroupper()

/* Bytes [at, at + 32) of each lane as eight vectors of big-endian words. */
static inline void load_eight_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  const VEC swap = _mm256_broadcastsi128_si256(
      _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
  VEC r[8], s[8];
  for (int i = 0; i < 8; i++) {
    r[i] = _mm256_loadu_si256((const __m256i *)(const void *)(p[i] + at));
  }
  for (int i = 0; i < 8; i += 4) {
    VEC a = _mm256_unpacklo_epi32(r[i], r[i + 1]), b = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    VEC c = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]), d = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
    s[i] = _mm256_unpacklo_epi64(a, c);
    s[i + 1] = _mm256_unpackhi_epi64(a, c);
    s[i + 2] = _mm256_unpacklo_epi64(b, d);
    s[i + 3] = _mm256_unpackhi_epi64(b, d);
  }
  /* The halves of s[k] are now words k and 4 + k of lanes 0-3; s[4 + k] has lanes 4-7. */
  for (int k = 0; k < 4; k++) {
    w[k] = _mm256_shuffle_epi8(_mm256_permute2x128_si256(s[k], s[k + 4], 0x20), swap);
    w[k + 4] = _mm256_shuffle_epi8(_mm256_permute2x128_si256(s[k], s[k + 4], 0x31), swap);
  }
}
