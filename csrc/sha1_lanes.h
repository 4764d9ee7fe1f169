/* SHA-1 (FIPS 180-4, 6.1) over lanes: the same word of all lanes in one vector. A template: an ISA file includes its
 * vec_*.h, names EXTEND and COMPRESS, and includes this. */
#include "hash.h"

/* The standard shifts five registers down each round; here the names move instead. */
#define ROUND(a, b, c, d, e, F, k, wt)                             \
  do {                                                             \
    e = ADD(ADD(ADD(e, SET1(k)), wt), ADD(F(b, c, d), ROL(a, 5))); \
    b = ROL(b, 30);                                                \
  } while (0)
#define FIVE_ROUNDS(F, k, W, t)             \
  do {                                      \
    ROUND(a, b, c, d, e, F, k, W(t));       \
    ROUND(e, a, b, c, d, F, k, W((t) + 1)); \
    ROUND(d, e, a, b, c, F, k, W((t) + 2)); \
    ROUND(c, d, e, a, b, F, k, W((t) + 3)); \
    ROUND(b, c, d, e, a, F, k, W((t) + 4)); \
  } while (0)
#define TWENTY_ROUNDS(F, k, W, t)   \
  do {                              \
    FIVE_ROUNDS(F, k, W, (t));      \
    FIVE_ROUNDS(F, k, W, (t) + 5);  \
    FIVE_ROUNDS(F, k, W, (t) + 10); \
    FIVE_ROUNDS(F, k, W, (t) + 15); \
  } while (0)
#define WORD(t) ((t) < 16 ? w[(t) & 15] : next_word(w, t))

static inline __attribute__((always_inline)) VEC next_word(VEC w[16], int t) {
  VEC x = XOR(XOR3(w[(t + 13) & 15], w[(t + 8) & 15], w[(t + 2) & 15]), w[t & 15]);
  return w[t & 15] = ROL(x, 1);
}

/* One block a lane, its words in w (which is used up). */
static inline __attribute__((always_inline)) void compress(VEC v[5], VEC w[16]) {
  VEC a = v[0], b = v[1], c = v[2], d = v[3], e = v[4];
  TWENTY_ROUNDS(CH, 0x5a827999, WORD, 0);
  TWENTY_ROUNDS(XOR3, 0x6ed9eba1, WORD, 20);
  TWENTY_ROUNDS(MAJ, 0x8f1bbcdc, WORD, 40);
  TWENTY_ROUNDS(XOR3, 0xca62c1d6, WORD, 60);
  v[0] = ADD(v[0], a);
  v[1] = ADD(v[1], b);
  v[2] = ADD(v[2], c);
  v[3] = ADD(v[3], d);
  v[4] = ADD(v[4], e);
}

/* PCR || digest is 40 bytes: one block with its padding. */
void EXTEND(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *const words = state;
  uint8_t last[LANES][32] = {{0}}; /* a load takes 12 bytes behind the digest too, which the last one has not */
  const uint8_t *ends[LANES];
  VEC v[5], w[16];
  for (int i = 0; i < LANES; i++) {
    memcpy(last[i], digests[i] + 20 * (steps - 1), 20);
    ends[i] = last[i];
  }
  for (int i = 0; i < 5; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t step = 0; step < steps; step++) {
    if (step == steps - 1) {
      load_eight_words(ends, 0, w + 5);
    } else {
      load_eight_words(digests, 20 * step, w + 5);
    }
    for (int i = 0; i < 5; i++) {
      w[i] = v[i];
      v[i] = SET1(pv_sha1_iv[i]);
    }
    w[10] = SET1(0x80000000);
    w[11] = w[12] = w[13] = w[14] = SET1(0);
    w[15] = SET1(40 * 8);
    compress(v, w);
  }
  for (int i = 0; i < 5; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}

void COMPRESS(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t *const words = state;
  VEC v[5], w[16];
  for (int i = 0; i < 5; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t i = 0; i < n; i++) {
    load_eight_words(blocks, 64 * i, w);
    load_eight_words(blocks, 64 * i + 32, w + 8);
    compress(v, w);
  }
  for (int i = 0; i < 5; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}
