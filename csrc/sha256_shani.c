/* SHA-256 (FIPS 180-4, 6.2) with the SHA instructions of x86: 1, 2 or 4 streams. One stream is bound by the latency
 * of its rounds, several by the throughput of sha256rnds2. The message schedule has a unit of its own, slower still
 * for as long as it is needed, so half of the streams are in their padding block, which needs none, while the other
 * half is in the block before it. The instructions are of the legacy SSE encoding: very slow while upper halves of
 * registers are in use, which is why hash.h has every kernel leave them clean. */
#include <immintrin.h>

#include "hash.h"

/* As the instructions want it: A, B, E, F and C, D, G, H, each from the highest word down. */
typedef struct {
  __m128i abef, cdgh;
} pv_state;

#define INLINE static inline __attribute__((always_inline))
#define SHUFFLE(x, y, n) _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(x), _mm_castsi128_ps(y), n))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

INLINE __m128i load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

INLINE __m128i load_words(const uint8_t *p) {
  return _mm_shuffle_epi8(load(p), _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
}

INLINE __m128i abcd(pv_state v) { return SHUFFLE(v.abef, v.cdgh, 0xBB); }
INLINE __m128i efgh(pv_state v) { return SHUFFLE(v.abef, v.cdgh, 0x11); }

INLINE pv_state from_words(__m128i a_d, __m128i e_h) {
  return (pv_state){SHUFFLE(e_h, a_d, 0x11), SHUFFLE(e_h, a_d, 0xBB)};
}

INLINE void enter(pv_state *v, const uint32_t *words, int n) {
  EACH(l, n) {
    uint32_t t[8];
    EACH(w, 8) { t[w] = words[w * n + l]; }
    v[l] = from_words(load(t), load(t + 4));
  }
}

INLINE void leave(uint32_t *words, const pv_state *v, int n) {
  EACH(l, n) {
    uint32_t t[8];
    _mm_storeu_si128((__m128i *)(void *)t, abcd(v[l]));
    _mm_storeu_si128((__m128i *)(void *)(t + 4), efgh(v[l]));
    EACH(w, 8) { words[w * n + l] = t[w]; }
  }
}

INLINE void four_rounds(pv_state *v, __m128i kw) {
  v->cdgh = _mm_sha256rnds2_epu32(v->cdgh, v->abef, kw);
  v->abef = _mm_sha256rnds2_epu32(v->abef, v->cdgh, _mm_shuffle_epi32(kw, 0x0E));
}

INLINE void feed_forward(pv_state *v, pv_state old) {
  v->abef = _mm_add_epi32(v->abef, old.abef);
  v->cdgh = _mm_add_epi32(v->cdgh, old.cdgh);
}

/* One block of each of n streams v, their words in w (which is used up); and the padding block of m streams u. */
INLINE void compress(pv_state *v, __m128i (*w)[4], int n, pv_state *u, int m) {
  const uint32_t *k = pv_sha256_k, *kw = pv_sha256_padding_kw;
  pv_state old_v[4], old_u[4];
  /* Else compilers copy the tables to the stack first, and move a padding block away from the other it runs with. */
  __asm__ volatile("" : "+r"(k), "+r"(kw));
  EACH(l, n) { old_v[l] = v[l]; }
  EACH(l, m) { old_u[l] = u[l]; }
  EACH(i, 16) {
    EACH(l, n) {
      __m128i *const new = &w[l][i & 3], last = w[l][(i + 3) & 3];
      if (i >= 4) {
        *new = _mm_add_epi32(_mm_sha256msg1_epu32(*new, w[l][(i + 1) & 3]),
                             _mm_alignr_epi8(last, w[l][(i + 2) & 3], 4));
        *new = _mm_sha256msg2_epu32(*new, last);
      }
      four_rounds(&v[l], _mm_add_epi32(*new, load(k + 4 * i)));
    }
    EACH(l, m) { four_rounds(&u[l], load(kw + 4 * i)); }
  }
  EACH(l, n) { feed_forward(&v[l], old_v[l]); }
  EACH(l, m) { feed_forward(&u[l], old_u[l]); }
}

/* The words of a step's first block, PCR || digest, and the state that it starts from. */
INLINE void begin(pv_state *v, __m128i (*w)[4], const uint8_t *const *digests, uint64_t step, int n) {
  EACH(l, n) {
    w[l][0] = abcd(v[l]);
    w[l][1] = efgh(v[l]);
    w[l][2] = load_words(digests[l] + 32 * step);
    w[l][3] = load_words(digests[l] + 32 * step + 16);
    v[l] = from_words(load(pv_sha256_iv), load(pv_sha256_iv + 4));
  }
}

INLINE void extend_one(uint32_t *words, const uint8_t *const *digests, uint64_t steps) {
  pv_state v[1];
  __m128i w[1][4];
  enter(v, words, 1);
  for (uint64_t step = 0; step < steps; step++) {
    begin(v, w, digests, step, 1);
    compress(v, w, 1, NULL, 0);
    compress(NULL, NULL, 0, v, 1);
  }
  leave(words, v, 1);
}

/* Two times n streams, the second half a block behind the first. */
INLINE void extend_halves(uint32_t *words, const uint8_t *const *digests, uint64_t steps, int n) {
  pv_state v[4];
  __m128i w[2][4];
  enter(v, words, 2 * n);
  begin(v, w, digests, 0, n);
  compress(v, w, n, NULL, 0);
  for (uint64_t step = 0;;) {
    begin(v + n, w, digests + n, step, n);
    compress(v + n, w, n, v, n);
    if (++step == steps) {
      break;
    }
    begin(v, w, digests, step, n);
    compress(v, w, n, v + n, n);
  }
  compress(NULL, NULL, 0, v + n, n);
  leave(words, v, 2 * n);
}

INLINE void compress_all(uint32_t *words, const uint8_t *const *blocks, uint64_t count, int n) {
  pv_state v[4];
  __m128i w[4][4];
  enter(v, words, n);
  for (uint64_t i = 0; i < count; i++) {
    EACH(l, n) {
      EACH(j, 4) { w[l][j] = load_words(blocks[l] + 64 * i + 16 * j); }
    }
    compress(v, w, n, NULL, 0);
  }
  leave(words, v, n);
}

void pv_sha256_extend_shani(void *state, const uint8_t *const *digests, uint64_t steps) {
  extend_one(state, digests, steps);
}

void pv_sha256_extend_shani2(void *state, const uint8_t *const *digests, uint64_t steps) {
  extend_halves(state, digests, steps, 1);
}

void pv_sha256_extend_shani4(void *state, const uint8_t *const *digests, uint64_t steps) {
  extend_halves(state, digests, steps, 2);
}

void pv_sha256_compress_shani(void *state, const uint8_t *const *blocks, uint64_t n) {
  compress_all(state, blocks, n, 1);
}

void pv_sha256_compress_shani2(void *state, const uint8_t *const *blocks, uint64_t n) {
  compress_all(state, blocks, n, 2);
}

void pv_sha256_compress_shani4(void *state, const uint8_t *const *blocks, uint64_t n) {
  compress_all(state, blocks, n, 4);
}
