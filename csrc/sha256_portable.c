/* SHA-256 (FIPS 180-4, 6.2), in plain C. */
#include "hash.h"

#define ROR(x, n) pv_rol32(x, 32 - (n))
#define ROUND(a, b, c, d, e, f, g, h, kw)                                                        \
  do {                                                                                           \
    uint32_t t1 = h + (ROR(e, 6) ^ ROR(e, 11) ^ ROR(e, 25)) + (g ^ (e & (f ^ g))) + (kw);        \
    d += t1;                                                                                     \
    h = t1 + (ROR(a, 2) ^ ROR(a, 13) ^ ROR(a, 22)) + ((a & b) | (c & (a | b)));                  \
  } while (0)
#define EIGHT_ROUNDS(kw, t)                      \
  do {                                           \
    ROUND(a, b, c, d, e, f, g, h, kw((t)));      \
    ROUND(h, a, b, c, d, e, f, g, kw((t) + 1));  \
    ROUND(g, h, a, b, c, d, e, f, kw((t) + 2));  \
    ROUND(f, g, h, a, b, c, d, e, kw((t) + 3));  \
    ROUND(e, f, g, h, a, b, c, d, kw((t) + 4));  \
    ROUND(d, e, f, g, h, a, b, c, kw((t) + 5));  \
    ROUND(c, d, e, f, g, h, a, b, kw((t) + 6));  \
    ROUND(b, c, d, e, f, g, h, a, kw((t) + 7));  \
  } while (0)
#define S0(x) (ROR(x, 7) ^ ROR(x, 18) ^ ((x) >> 3))
#define S1(x) (ROR(x, 17) ^ ROR(x, 19) ^ ((x) >> 10))
#define FIRST(t) (pv_sha256_k[t] + w[t])
#define LATER(t) \
  (pv_sha256_k[t] + \
   (w[(t) & 15] += S1(w[((t) + 14) & 15]) + w[((t) + 9) & 15] + S0(w[((t) + 1) & 15])))
#define PADDING(t) (pv_sha256_padding_kw[t])
#define LOAD(v) \
  uint32_t a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7]
#define ADD(v) (v[0] += a, v[1] += b, v[2] += c, v[3] += d, v[4] += e, v[5] += f, v[6] += g, v[7] += h)

/* One block, its words already in w (which is used up). */
static void compress(uint32_t v[8], uint32_t w[16]) {
  LOAD(v);
  EIGHT_ROUNDS(FIRST, 0);
  EIGHT_ROUNDS(FIRST, 8);
  for (unsigned t = 16; t < 64; t += 16) {
    EIGHT_ROUNDS(LATER, t);
    EIGHT_ROUNDS(LATER, t + 8);
  }
  ADD(v);
}

static void compress_padding(uint32_t v[8]) {
  LOAD(v);
  for (unsigned t = 0; t < 64; t += 16) {
    EIGHT_ROUNDS(PADDING, t);
    EIGHT_ROUNDS(PADDING, t + 8);
  }
  ADD(v);
}

void pv_sha256_extend_portable(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *v = state, w[16];
  for (const uint8_t *digest = digests[0]; steps; steps--, digest += 32) {
    memcpy(w, v, 32);
    for (unsigned i = 0; i < 8; i++) {
      w[8 + i] = pv_be32(digest + 4 * i);
    }
    memcpy(v, pv_sha256_iv, 32);
    compress(v, w);
    compress_padding(v);
  }
}

void pv_sha256_compress_portable(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t w[16];
  for (const uint8_t *p = blocks[0]; n; n--, p += 64) {
    for (unsigned i = 0; i < 16; i++) {
      w[i] = pv_be32(p + 4 * i);
    }
    compress(state, w);
  }
}
