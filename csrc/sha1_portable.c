/* SHA-1 (FIPS 180-4, 6.1), in plain C. */
#include "hash.h"

static const uint32_t iv[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

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
void pv_sha1_extend_portable(uint8_t *pcr, const uint8_t *digests, uint64_t n) {
  uint32_t h[5], w[16];
  for (unsigned i = 0; i < 5; i++) {
    h[i] = pv_be32(pcr + 4 * i);
  }
  for (; n; n--, digests += 20) {
    memcpy(w, h, 20);
    for (unsigned i = 0; i < 5; i++) {
      w[5 + i] = pv_be32(digests + 4 * i);
    }
    w[10] = 0x80000000;
    w[11] = w[12] = w[13] = w[14] = 0;
    w[15] = 40 * 8;
    memcpy(h, iv, sizeof iv);
    compress(h, w);
  }
  for (unsigned i = 0; i < 5; i++) {
    pv_put_be32(pcr + 4 * i, h[i]);
  }
}

static void blocks(uint32_t h[5], const uint8_t *p, uint64_t n) {
  uint32_t w[16];
  for (; n; n--, p += 64) {
    for (unsigned i = 0; i < 16; i++) {
      w[i] = pv_be32(p + 4 * i);
    }
    compress(h, w);
  }
}

void pv_sha1_hash_portable(const uint8_t *message, uint64_t size, uint8_t *digest) {
  uint8_t tail[128];
  uint32_t h[5];
  memcpy(h, iv, sizeof iv);
  blocks(h, message, size / 64);
  blocks(h, tail, pv_pad(tail, message + size / 64 * 64, size % 64, size, 64));
  for (unsigned i = 0; i < 5; i++) {
    pv_put_be32(digest + 4 * i, h[i]);
  }
}
