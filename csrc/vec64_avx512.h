/* Eight lanes of 64 bits in AVX-512 registers: the vector operations of sha512_lanes.h. */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 8 };
#define VEC __m512i
#define ADD _mm512_add_epi64
#define XOR3(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0x96)
#define CH(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0xCA)
#define MAJ(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0xE8)
#define ROR(x, n) _mm512_ror_epi64(x, n)
#define ROR8(x) ROR(x, 8)
#define SHR(x, n) _mm512_srli_epi64(x, n)
#define SET1(x) _mm512_set1_epi64((long long)(x))
#define LOAD(p) _mm512_load_si512(p)
#define STORE(p, v) _mm512_store_si512(p, v)
#define LEAVE() _mm256_zeroupper()

/* Bytes [at, at + 16) of four lanes, every other one. */
static inline VEC load_quarters(const uint8_t *const *p, uint64_t at) {
  VEC v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)(p[0] + at)));
  v = _mm512_inserti64x2(v, _mm_loadu_si128((const __m128i *)(const void *)(p[2] + at)), 1);
  v = _mm512_inserti64x2(v, _mm_loadu_si128((const __m128i *)(const void *)(p[4] + at)), 2);
  return _mm512_inserti64x2(v, _mm_loadu_si128((const __m128i *)(const void *)(p[6] + at)), 3);
}

/* Bytes [at, at + 16) of each lane as two vectors of big-endian words. */
static inline void load_two_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  const VEC swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const VEC even = load_quarters(p, at), odd = load_quarters(p + 1, at);
  w[0] = _mm512_shuffle_epi8(_mm512_unpacklo_epi64(even, odd), swap);
  w[1] = _mm512_shuffle_epi8(_mm512_unpackhi_epi64(even, odd), swap);
}
