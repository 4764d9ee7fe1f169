/* Sixteen lanes of 32 bits in AVX-512 registers: the vector operations of the *_lanes.h templates. */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };
#define VEC __m512i
#define ADD _mm512_add_epi32
#define XOR _mm512_xor_si512
#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define CH(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xCA)
#define MAJ(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xE8)
#define ROL(x, n) _mm512_rol_epi32(x, n)
#define ROR(x, n) _mm512_ror_epi32(x, n)
#define SHR(x, n) _mm512_srli_epi32(x, n)
#define SET1(x) _mm512_set1_epi32((int)(x))
#define LOAD(p) _mm512_load_si512(p)
#define STORE(p, v) _mm512_store_si512(p, v)
#define LEAVE() _mm256_zeroupper()

/* Bytes [at, at + 32) of each lane as eight vectors of big-endian words. */
static inline void load_eight_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  const VEC swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
  const VEC low = _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), high = _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2);
  VEC r[8], s[8];
  for (int i = 0; i < 8; i++) {
    r[i] = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(p[i] + at))),
        _mm256_loadu_si256((const __m256i *)(const void *)(p[i + 8] + at)), 1);
  }
  for (int i = 0; i < 8; i += 4) {
    VEC a = _mm512_unpacklo_epi32(r[i], r[i + 1]), b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    VEC c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
    s[i] = _mm512_unpacklo_epi64(a, c);
    s[i + 1] = _mm512_unpackhi_epi64(a, c);
    s[i + 2] = _mm512_unpacklo_epi64(b, d);
    s[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  /* The quarters of s[k] are now words k and 4 + k of lanes 0-3, then of lanes 8-11; s[4 + k] has 4-7 and 12-15. */
  for (int k = 0; k < 4; k++) {
    w[k] = _mm512_shuffle_epi8(_mm512_permutex2var_epi64(s[k], low, s[k + 4]), swap);
    w[k + 4] = _mm512_shuffle_epi8(_mm512_permutex2var_epi64(s[k], high, s[k + 4]), swap);
  }
}
