/* SM3 (GM/T 0004-2012; ISO/IEC 10118-3:2018), in plain C. */
#include "hash.h"

#define ROL pv_rol32
#define P0(x) ((x) ^ ROL(x, 9) ^ ROL(x, 17))
#define P1(x) ((x) ^ ROL(x, 15) ^ ROL(x, 23))
#define XOR3(x, y, z) ((x) ^ (y) ^ (z))
#define MAJ(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#define CH(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
/* The standard shifts eight registers down each round; here the names move instead, four rounds a turn. */
#define ROUND(a, b, c, d, e, f, g, h, FF, GG, t, w, wx)  \
  do {                                                   \
    uint32_t a12 = ROL(a, 12);                           \
    uint32_t ss1 = ROL(a12 + e + (t), 7);                \
    d += FF(a, b, c) + (ss1 ^ a12) + (wx);               \
    h += GG(e, f, g) + ss1 + (w);                        \
    b = ROL(b, 9);                                       \
    f = ROL(f, 19);                                      \
    h = P0(h);                                           \
  } while (0)
#define FOUR_ROUNDS(FF, GG, j, W, WX)                                        \
  do {                                                                       \
    ROUND(a, b, c, d, e, f, g, h, FF, GG, pv_sm3_t[j], W(j), WX(j));         \
    ROUND(d, a, b, c, h, e, f, g, FF, GG, pv_sm3_t[(j) + 1], W((j) + 1), WX((j) + 1)); \
    ROUND(c, d, a, b, g, h, e, f, FF, GG, pv_sm3_t[(j) + 2], W((j) + 2), WX((j) + 2)); \
    ROUND(b, c, d, a, f, g, h, e, FF, GG, pv_sm3_t[(j) + 3], W((j) + 3), WX((j) + 3)); \
  } while (0)
#define SIXTY_FOUR_ROUNDS(W, WX)               \
  do {                                         \
    for (unsigned j = 0; j < 16; j += 4) {     \
      FOUR_ROUNDS(XOR3, XOR3, j, W, WX);       \
    }                                          \
    for (unsigned j = 16; j < 64; j += 4) {    \
      FOUR_ROUNDS(MAJ, CH, j, W, WX);          \
    }                                          \
  } while (0)
#define LOAD(v) \
  uint32_t a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7]
#define XOR_INTO(v) (v[0] ^= a, v[1] ^= b, v[2] ^= c, v[3] ^= d, v[4] ^= e, v[5] ^= f, v[6] ^= g, v[7] ^= h)

/* One block, its 16 words already in w, which has room for the 68 of the schedule. */
static void compress(uint32_t v[8], uint32_t w[68]) {
  for (unsigned j = 16; j < 68; j++) {
    uint32_t x = w[j - 16] ^ w[j - 9] ^ ROL(w[j - 3], 15);
    w[j] = P1(x) ^ ROL(w[j - 13], 7) ^ w[j - 6];
  }
  LOAD(v);
#define W(j) w[j]
#define WX(j) (w[j] ^ w[(j) + 4])
  SIXTY_FOUR_ROUNDS(W, WX);
#undef W
#undef WX
  XOR_INTO(v);
}

static void compress_padding(uint32_t v[8]) {
  LOAD(v);
#define W(j) pv_sm3_padding_w[j]
#define WX(j) pv_sm3_padding_wx[j]
  SIXTY_FOUR_ROUNDS(W, WX);
#undef W
#undef WX
  XOR_INTO(v);
}

void pv_sm3_extend_portable(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *v = state, w[68];
  for (const uint8_t *digest = digests[0]; steps; steps--, digest += 32) {
    memcpy(w, v, 32);
    for (unsigned i = 0; i < 8; i++) {
      w[8 + i] = pv_be32(digest + 4 * i);
    }
    memcpy(v, pv_sm3_iv, 32);
    compress(v, w);
    compress_padding(v);
  }
}

void pv_sm3_compress_portable(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t w[68];
  for (const uint8_t *p = blocks[0]; n; n--, p += 64) {
    for (unsigned i = 0; i < 16; i++) {
      w[i] = pv_be32(p + 4 * i);
    }
    compress(state, w);
  }
}
