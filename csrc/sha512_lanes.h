/* SHA-512 and SHA-384 (FIPS 180-4, 6.4 and 6.5) over lanes: the same word of all lanes in one vector. A template: an
 * ISA file includes its vec64_*.h, names EXTEND384, EXTEND512 and COMPRESS, and includes this. */
#include "hash.h"

#define BIG0(x) XOR3(ROR(x, 28), ROR(x, 34), ROR(x, 39))
#define BIG1(x) XOR3(ROR(x, 14), ROR(x, 18), ROR(x, 41))
#define SMALL0(x) XOR3(ROR(x, 1), ROR8(x), SHR(x, 7))
#define SMALL1(x) XOR3(ROR(x, 19), ROR(x, 61), SHR(x, 6))
#include "sha2_rounds.h"

/* One block a lane, its words in w (which is used up). Looped by sixteen rounds: all eighty in a row are slower, for
 * they fit no cache of decoded instructions. */
static inline __attribute__((always_inline)) void compress(VEC v[8], VEC w[16]) {
  const uint64_t *k = pv_sha512_k;
  ENTER(v);
  SIXTEEN_ROUNDS(FIRST);
  for (k += 16; k < pv_sha512_k + 80; k += 16) {
    SIXTEEN_ROUNDS(LATER);
  }
  FEED_FORWARD(v);
}

static inline __attribute__((always_inline)) void compress_padding(VEC v[8]) {
  ENTER(v);
  for (const uint64_t *kw = pv_sha512_padding_kw; kw < pv_sha512_padding_kw + 80; kw += 16) {
    SIXTEEN_ROUNDS(PADDING);
  }
  FEED_FORWARD(v);
}

static inline __attribute__((always_inline)) void load_words(
    const uint8_t *const *p, uint64_t at, VEC *w, int count) {
  for (int i = 0; i < count; i += 2) {
    load_two_words(p, at + 8 * (uint64_t)i, w + i);
  }
}

/* PCR || digest is 96 bytes: one block with its padding. */
void EXTEND384(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint64_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 6; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t step = 0; step < steps; step++) {
    for (int i = 0; i < 6; i++) {
      w[i] = v[i];
    }
    load_words(digests, 48 * step, w + 6, 6);
    w[12] = SET1(1ull << 63);
    w[13] = w[14] = SET1(0);
    w[15] = SET1(96 * 8);
    for (int i = 0; i < 8; i++) {
      v[i] = SET1(pv_sha384_iv[i]);
    }
    compress(v, w);
  }
  for (int i = 0; i < 6; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}

/* PCR || digest is 128 bytes: one block, then the constant padding block. */
void EXTEND512(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint64_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  load_words(digests, 0, w + 8, 8);
  for (uint64_t step = 1;; step++) {
    for (int i = 0; i < 8; i++) {
      w[i] = v[i];
      v[i] = SET1(pv_sha512_iv[i]);
    }
    compress(v, w);
    if (step < steps) { /* while the padding block keeps the other ports busy */
      load_words(digests, 64 * step, w + 8, 8);
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

/* Of SHA-384 as well: the two differ in the initial value and in what is kept of the last one. */
void COMPRESS(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint64_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t i = 0; i < n; i++) {
    load_words(blocks, 128 * i, w, 16);
    compress(v, w);
  }
  for (int i = 0; i < 8; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}
