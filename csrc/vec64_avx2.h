/* Four lanes of 64 bits in AVX2 registers: the vector operations of sha512_lanes.h. */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 4 };
#define VEC __m256i
#define ADD _mm256_add_epi64
#define XOR _mm256_xor_si256
#define XOR3(x, y, z) XOR(XOR(x, y), z)
#define CH(x, y, z) XOR(z, _mm256_and_si256(x, XOR(y, z)))
/* XOR(y, z) is what the round before had as XOR(x, y): compilers keep it. */
#define MAJ(x, y, z) XOR(y, _mm256_and_si256(XOR(x, y), XOR(y, z)))
#define ROR(x, n) _mm256_or_si256(_mm256_srli_epi64(x, n), _mm256_slli_epi64(x, 64 - (n)))
#define ROR8(x)                         \
  _mm256_shuffle_epi8(                  \
      x, _mm256_broadcastsi128_si256(   \
             _mm_set_epi8(8, 15, 14, 13, 12, 11, 10, 9, 0, 7, 6, 5, 4, 3, 2, 1)))
#define SHR(x, n) _mm256_srli_epi64(x, n)
#define SET1(x) _mm256_set1_epi64x((long long)(x))
#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_store_si256((__m256i *)(p), v)
#define LEAVE() _mm256_zeroupper()

/* Bytes [at, at + 16) of two lanes, the first and the third. */
static inline VEC load_halves(const uint8_t *const *p, uint64_t at) {
  return _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p[0] + at))),
      _mm_loadu_si128((const __m128i *)(const void *)(p[2] + at)), 1);
}

/* Bytes [at, at + 16) of each lane as two vectors of big-endian words. */
static inline void load_two_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  const VEC swap = _mm256_broadcastsi128_si256(
      _mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const VEC even = load_halves(p, at), odd = load_halves(p + 1, at);
  w[0] = _mm256_shuffle_epi8(_mm256_unpacklo_epi64(even, odd), swap);
  w[1] = _mm256_shuffle_epi8(_mm256_unpackhi_epi64(even, odd), swap);
}
