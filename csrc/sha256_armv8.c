/* SHA-256 (FIPS 180-4, 6.2), one stream, with the SHA2 instructions of ARMv8. */
#include <arm_neon.h>

#include "hash.h"

typedef struct {
  uint32x4_t abcd, efgh;
} pv_state;

#define INLINE static inline __attribute__((always_inline))

INLINE uint32x4_t load_words(const uint8_t *p) { return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p))); }
INLINE pv_state load_state(const uint32_t *words) { return (pv_state){vld1q_u32(words), vld1q_u32(words + 4)}; }

INLINE void store_state(uint32_t *words, pv_state v) {
  vst1q_u32(words, v.abcd);
  vst1q_u32(words + 4, v.efgh);
}

INLINE pv_state four_rounds(pv_state v, uint32x4_t kw) {
  return (pv_state){vsha256hq_u32(v.abcd, v.efgh, kw), vsha256h2q_u32(v.efgh, v.abcd, kw)};
}

INLINE pv_state feed_forward(pv_state v, pv_state old) {
  return (pv_state){vaddq_u32(v.abcd, old.abcd), vaddq_u32(v.efgh, old.efgh)};
}

/* One block, its words in w0 to w3. */
INLINE pv_state compress(pv_state v, uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
  const pv_state old = v;
  for (int t = 0; t < 64; t += 4) {
    v = four_rounds(v, vaddq_u32(w0, vld1q_u32(pv_sha256_k + t)));
    const uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
    w0 = w1;
    w1 = w2;
    w2 = w3;
    w3 = next;
  }
  return feed_forward(v, old);
}

INLINE pv_state compress_padding(pv_state v) {
  const pv_state old = v;
  for (int t = 0; t < 64; t += 4) {
    v = four_rounds(v, vld1q_u32(pv_sha256_padding_kw + t));
  }
  return feed_forward(v, old);
}

void pv_sha256_extend_armv8(void *state, const uint8_t *const *digests, uint64_t steps) {
  const pv_state iv = load_state(pv_sha256_iv);
  const uint8_t *digest = digests[0];
  pv_state v = load_state(state);
  for (; steps; steps--, digest += 32) {
    v = compress(iv, v.abcd, v.efgh, load_words(digest), load_words(digest + 16)); /* PCR || digest */
    v = compress_padding(v);
  }
  store_state(state, v);
}

void pv_sha256_compress_armv8(void *state, const uint8_t *const *blocks, uint64_t n) {
  const uint8_t *block = blocks[0];
  pv_state v = load_state(state);
  for (; n; n--, block += 64) {
    v = compress(v, load_words(block), load_words(block + 16), load_words(block + 32), load_words(block + 48));
  }
  store_state(state, v);
}
