/* SHA-1 (FIPS 180-4, 6.1), in plain C. */
#include "hash.h"

#define SCHEDULE(t) \
  (w[(t) & 15] = pv_rol32(w[((t) + 13) & 15] ^ w[((t) + 8) & 15] ^ w[((t) + 2) & 15] ^ w[(t) & 15], 1))
#define ROUND(f, k, wt)                                   \
  do {                                                    \
    uint32_t next = pv_rol32(a, 5) + (f) + e + (k) + (wt); \
    e = d;                                                \
    d = c;                                                \
    c = pv_rol32(b, 30);                                  \
    b = a;                                                \
    a = next;                                             \
  } while (0)

/* One block, its words already in w (which is used up). */
static void compress(uint32_t h[5], uint32_t w[16]) {
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (unsigned t = 0; t < 16; t++) {
    ROUND(d ^ (b & (c ^ d)), 0x5a827999, w[t]);
  }
  for (unsigned t = 16; t < 20; t++) {
    ROUND(d ^ (b & (c ^ d)), 0x5a827999, SCHEDULE(t));
  }
  for (unsigned t = 20; t < 40; t++) {
    ROUND(b ^ c ^ d, 0x6ed9eba1, SCHEDULE(t));
  }
  for (unsigned t = 40; t < 60; t++) {
    ROUND((b & c) | (d & (b | c)), 0x8f1bbcdc, SCHEDULE(t));
  }
  for (unsigned t = 60; t < 80; t++) {
    ROUND(b ^ c ^ d, 0xca62c1d6, SCHEDULE(t));
  }
  h[0] += a;
  h[1] += b;
  h[2] += c;
  h[3] += d;
  h[4] += e;
}

/* PCR || digest is 40 bytes: one block with its padding. */
void pv_sha1_extend_portable(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *h = state, w[16];
  for (const uint8_t *digest = digests[0]; steps; steps--, digest += 20) {
    memcpy(w, h, 20);
    for (unsigned i = 0; i < 5; i++) {
      w[5 + i] = pv_be32(digest + 4 * i);
    }
    w[10] = 0x80000000;
    w[11] = w[12] = w[13] = w[14] = 0;
    w[15] = 40 * 8;
    memcpy(h, pv_sha1_iv, 20);
    compress(h, w);
  }
}

void pv_sha1_compress_portable(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t w[16];
  for (const uint8_t *p = blocks[0]; n; n--, p += 64) {
    for (unsigned i = 0; i < 16; i++) {
      w[i] = pv_be32(p + 4 * i);
    }
    compress(state, w);
  }
}
