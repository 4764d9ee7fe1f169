/* SM3 (GM/T 0004-2012; ISO/IEC 10118-3:2018), one stream, with the SM3 instructions of ARMv8.2. */
#include <arm_neon.h>

#include "hash.h"

/* As the instructions want it: from the highest word down. */
typedef struct {
  uint32x4_t dcba, hgfe;
} pv_state;

#define INLINE static inline __attribute__((always_inline))

INLINE uint32x4_t load_words(const uint8_t *p) { return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p))); }

INLINE uint32x4_t reverse(uint32x4_t x) {
  x = vrev64q_u32(x);
  return vextq_u32(x, x, 2);
}

INLINE pv_state load_state(const uint32_t *words) {
  return (pv_state){reverse(vld1q_u32(words)), reverse(vld1q_u32(words + 4))};
}

INLINE void store_state(uint32_t *words, pv_state v) {
  vst1q_u32(words, reverse(v.dcba));
  vst1q_u32(words + 4, reverse(v.hgfe));
}

/* Round j, of type a (j < 16) or b, with word `i` of w and wx (W and W'). */
#define ROUND(type, j, i)                                                            \
  do {                                                                               \
    const uint32x4_t ss1 = vsm3ss1q_u32(v.dcba, v.hgfe, vld1q_dup_u32(pv_sm3_t + (j))); \
    v.dcba = vsm3tt1##type##q_u32(v.dcba, ss1, wx, i);                               \
    v.hgfe = vsm3tt2##type##q_u32(v.hgfe, ss1, w, i);                                \
  } while (0)
#define FOUR_ROUNDS(type, j)   \
  do {                         \
    ROUND(type, j, 0);         \
    ROUND(type, (j) + 1, 1);   \
    ROUND(type, (j) + 2, 2);   \
    ROUND(type, (j) + 3, 3);   \
  } while (0)

INLINE pv_state four_rounds(pv_state v, int j, uint32x4_t w, uint32x4_t wx) {
  if (j < 16) {
    FOUR_ROUNDS(a, j);
  } else {
    FOUR_ROUNDS(b, j);
  }
  return v;
}

INLINE pv_state feed_forward(pv_state v, pv_state old) {
  return (pv_state){veorq_u32(v.dcba, old.dcba), veorq_u32(v.hgfe, old.hgfe)};
}

/* One block, its words in w0 to w3. */
INLINE pv_state compress(pv_state v, uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
  const pv_state old = v;
  for (int j = 0; j < 64; j += 4) {
    v = four_rounds(v, j, w0, veorq_u32(w0, w1));
    const uint32x4_t next = vsm3partw2q_u32(vsm3partw1q_u32(vextq_u32(w1, w2, 3), w0, w3),
                                            vextq_u32(w2, w3, 2), vextq_u32(w0, w1, 3));
    w0 = w1;
    w1 = w2;
    w2 = w3;
    w3 = next;
  }
  return feed_forward(v, old);
}

INLINE pv_state compress_padding(pv_state v) {
  const pv_state old = v;
  for (int j = 0; j < 64; j += 4) {
    v = four_rounds(v, j, vld1q_u32(pv_sm3_padding_w + j), vld1q_u32(pv_sm3_padding_wx + j));
  }
  return feed_forward(v, old);
}

void pv_sm3_extend_armv8(void *state, const uint8_t *const *digests, uint64_t steps) {
  const pv_state iv = load_state(pv_sm3_iv);
  const uint8_t *digest = digests[0];
  pv_state v = load_state(state);
  for (; steps; steps--, digest += 32) {
    /* PCR || digest */
    v = compress(iv, reverse(v.dcba), reverse(v.hgfe), load_words(digest), load_words(digest + 16));
    v = compress_padding(v);
  }
  store_state(state, v);
}

void pv_sm3_compress_armv8(void *state, const uint8_t *const *blocks, uint64_t n) {
  const uint8_t *block = blocks[0];
  pv_state v = load_state(state);
  for (; n; n--, block += 64) {
    v = compress(v, load_words(block), load_words(block + 16), load_words(block + 32), load_words(block + 48));
  }
  store_state(state, v);
}
