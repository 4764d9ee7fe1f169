/* SHA-256 (FIPS 180-4, 6.2) over lanes: the same word of all lanes in one vector. A template: an ISA file includes its
 * vec_*.h, names EXTEND and COMPRESS, and includes this. */
#include "hash.h"

#define BIG0(x) XOR3(ROR(x, 2), ROR(x, 13), ROR(x, 22))
#define BIG1(x) XOR3(ROR(x, 6), ROR(x, 11), ROR(x, 25))
#define SMALL0(x) XOR3(ROR(x, 7), ROR(x, 18), SHR(x, 3))
#define SMALL1(x) XOR3(ROR(x, 17), ROR(x, 19), SHR(x, 10))
#define ROUND(a, b, c, d, e, f, g, h, kw)                 \
  do {                                                    \
    VEC t1 = ADD(ADD(h, kw), ADD(BIG1(e), CH(e, f, g)));  \
    d = ADD(d, t1);                                       \
    h = ADD(t1, ADD(BIG0(a), MAJ(a, b, c)));              \
  } while (0)
#define SIXTEEN_ROUNDS(kw)                  \
  do {                                      \
    ROUND(a, b, c, d, e, f, g, h, kw(0));   \
    ROUND(h, a, b, c, d, e, f, g, kw(1));   \
    ROUND(g, h, a, b, c, d, e, f, kw(2));   \
    ROUND(f, g, h, a, b, c, d, e, kw(3));   \
    ROUND(e, f, g, h, a, b, c, d, kw(4));   \
    ROUND(d, e, f, g, h, a, b, c, kw(5));   \
    ROUND(c, d, e, f, g, h, a, b, kw(6));   \
    ROUND(b, c, d, e, f, g, h, a, kw(7));   \
    ROUND(a, b, c, d, e, f, g, h, kw(8));   \
    ROUND(h, a, b, c, d, e, f, g, kw(9));   \
    ROUND(g, h, a, b, c, d, e, f, kw(10));  \
    ROUND(f, g, h, a, b, c, d, e, kw(11));  \
    ROUND(e, f, g, h, a, b, c, d, kw(12));  \
    ROUND(d, e, f, g, h, a, b, c, kw(13));  \
    ROUND(c, d, e, f, g, h, a, b, kw(14));  \
    ROUND(b, c, d, e, f, g, h, a, kw(15));  \
  } while (0)
#define FIRST(t) ADD(w[t], SET1(k[t]))
#define LATER(t)                                                      \
  ADD(w[t] = ADD(ADD(w[t], SMALL0(w[((t) + 1) & 15])),                \
                 ADD(w[((t) + 9) & 15], SMALL1(w[((t) + 14) & 15]))), \
      SET1(k[t]))
#define PADDING(t) SET1(kw[t])
#define ENTER(v) VEC a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7]
#define FEED_FORWARD(v)                                                                      \
  (v[0] = ADD(v[0], a), v[1] = ADD(v[1], b), v[2] = ADD(v[2], c), v[3] = ADD(v[3], d),      \
   v[4] = ADD(v[4], e), v[5] = ADD(v[5], f), v[6] = ADD(v[6], g), v[7] = ADD(v[7], h))

/* One block a lane, its words in w (which is used up). Looped by sixteen rounds: all 64 in a row fit no cache of
 * decoded instructions. */
static inline __attribute__((always_inline)) void compress(VEC v[8], VEC w[16]) {
  const uint32_t *k = pv_sha256_k;
  ENTER(v);
  SIXTEEN_ROUNDS(FIRST);
  for (k += 16; k < pv_sha256_k + 64; k += 16) {
    SIXTEEN_ROUNDS(LATER);
  }
  FEED_FORWARD(v);
}

static inline __attribute__((always_inline)) void compress_padding(VEC v[8]) {
  ENTER(v);
  for (const uint32_t *kw = pv_sha256_padding_kw; kw < pv_sha256_padding_kw + 64; kw += 16) {
    SIXTEEN_ROUNDS(PADDING);
  }
  FEED_FORWARD(v);
}

void EXTEND(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  load_eight_words(digests, 0, w + 8);
  for (uint64_t step = 1;; step++) {
    for (int i = 0; i < 8; i++) {
      w[i] = v[i]; /* the PCR is the first half of the message */
      v[i] = SET1(pv_sha256_iv[i]);
    }
    compress(v, w);
    if (step < steps) { /* while the padding block keeps the other ports busy */
      load_eight_words(digests, 32 * step, w + 8);
    }
    compress_padding(v);
    if (step == steps) {
      break;
    }
  }
  for (int i = 0; i < 8; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}

void COMPRESS(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t i = 0; i < n; i++) {
    load_eight_words(blocks, 64 * i, w);
    load_eight_words(blocks, 64 * i + 32, w + 8);
    compress(v, w);
  }
  for (int i = 0; i < 8; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}
