/* Texts, AVX2. */
#include <immintrin.h>
#include <stdint.h>

#define WIDTH 32
#define VEC __m256i
#define SET1(byte) _mm256_set1_epi8((char)(byte))
#define EQUAL_BITS equal_bits
#define MARK_TEXTS pv_mark_texts_avx2

static inline uint32_t equal_bits(const uint8_t *p, __m256i rare) {
  return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)p), rare));
}

#include "hunt_vectors.h"
