/* SM3 (GM/T 0004-2012, 5.3) over lanes: the same word of all lanes in one vector. A template: an ISA file includes its
 * vec_*.h, names EXTEND and COMPRESS, and includes this. */
#include "hash.h"

#define P0(x) XOR3(x, ROL(x, 9), ROL(x, 17))
#define P1(x) XOR3(x, ROL(x, 15), ROL(x, 23))
/* The standard shifts eight registers down each round; here the names move instead. */
#define ROUND(a, b, c, d, e, f, g, h, FF, GG, t, w, wx)    \
  do {                                                     \
    VEC a12 = ROL(a, 12), ss1 = ADD(a12, ADD(e, SET1(t))); \
    ss1 = ROL(ss1, 7);                                     \
    d = ADD(ADD(FF(a, b, c), ADD(d, wx)), XOR(ss1, a12));  \
    h = ADD(ADD(GG(e, f, g), ADD(h, w)), ss1);             \
    b = ROL(b, 9);                                         \
    f = ROL(f, 19);                                        \
    h = P0(h);                                             \
  } while (0)
/* Round j + i uses words j + i and j + i + 4. Loops go by sixteen words, so that i alone is a word's place in w. */
#define FOUR_ROUNDS(FF, GG, W, WX, j, i)                                                           \
  do {                                                                                             \
    ROUND(a, b, c, d, e, f, g, h, FF, GG, pv_sm3_t[(j) + (i)], W(j, i), WX(j, i));                 \
    ROUND(d, a, b, c, h, e, f, g, FF, GG, pv_sm3_t[(j) + (i) + 1], W(j, (i) + 1), WX(j, (i) + 1)); \
    ROUND(c, d, a, b, g, h, e, f, FF, GG, pv_sm3_t[(j) + (i) + 2], W(j, (i) + 2), WX(j, (i) + 2)); \
    ROUND(b, c, d, a, f, g, h, e, FF, GG, pv_sm3_t[(j) + (i) + 3], W(j, (i) + 3), WX(j, (i) + 3)); \
  } while (0)
#define WORD(j, i) w[i]
#define WORDS(j, i) XOR(w[i], w[((i) + 4) & 15])
#define PADDING_WORD(j, i) SET1(pv_sm3_padding_w[(j) + (i)])
#define PADDING_WORDS(j, i) SET1(pv_sm3_padding_wx[(j) + (i)])
/* Word i of the ring becomes the one sixteen further on. */
#define EXPAND(i)                                                      \
  do {                                                                 \
    VEC x = ROL(w[((i) + 13) & 15], 15);                               \
    x = XOR3(x, w[i], w[((i) + 7) & 15]);                              \
    w[i] = XOR3(P1(x), ROL(w[((i) + 3) & 15], 7), w[((i) + 10) & 15]); \
  } while (0)
#define EXPAND_FOUR(i) \
  do {                 \
    EXPAND(i);         \
    EXPAND((i) + 1);   \
    EXPAND((i) + 2);   \
    EXPAND((i) + 3);   \
  } while (0)
#define ENTER(v) VEC a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7]
#define FEED_FORWARD(v)                                                                \
  (v[0] = XOR(v[0], a), v[1] = XOR(v[1], b), v[2] = XOR(v[2], c), v[3] = XOR(v[3], d), \
   v[4] = XOR(v[4], e), v[5] = XOR(v[5], f), v[6] = XOR(v[6], g), v[7] = XOR(v[7], h))

/* One block a lane, its words in w (which is used up). */
static inline __attribute__((always_inline)) void compress(VEC v[8], VEC w[16]) {
  ENTER(v);
  FOUR_ROUNDS(XOR3, XOR3, WORD, WORDS, 0, 0);
  FOUR_ROUNDS(XOR3, XOR3, WORD, WORDS, 0, 4);
  FOUR_ROUNDS(XOR3, XOR3, WORD, WORDS, 0, 8);
  EXPAND_FOUR(0);
  FOUR_ROUNDS(XOR3, XOR3, WORD, WORDS, 0, 12);
  for (int j = 16; j < 64; j += 16) {
    EXPAND_FOUR(4);
    FOUR_ROUNDS(MAJ, CH, WORD, WORDS, j, 0);
    EXPAND_FOUR(8);
    FOUR_ROUNDS(MAJ, CH, WORD, WORDS, j, 4);
    EXPAND_FOUR(12);
    FOUR_ROUNDS(MAJ, CH, WORD, WORDS, j, 8);
    EXPAND_FOUR(0);
    FOUR_ROUNDS(MAJ, CH, WORD, WORDS, j, 12);
  }
  FEED_FORWARD(v);
}

static inline __attribute__((always_inline)) void compress_padding(VEC v[8]) {
  ENTER(v);
  FOUR_ROUNDS(XOR3, XOR3, PADDING_WORD, PADDING_WORDS, 0, 0);
  FOUR_ROUNDS(XOR3, XOR3, PADDING_WORD, PADDING_WORDS, 0, 4);
  FOUR_ROUNDS(XOR3, XOR3, PADDING_WORD, PADDING_WORDS, 0, 8);
  FOUR_ROUNDS(XOR3, XOR3, PADDING_WORD, PADDING_WORDS, 0, 12);
  for (int j = 16; j < 64; j += 16) {
    FOUR_ROUNDS(MAJ, CH, PADDING_WORD, PADDING_WORDS, j, 0);
    FOUR_ROUNDS(MAJ, CH, PADDING_WORD, PADDING_WORDS, j, 4);
    FOUR_ROUNDS(MAJ, CH, PADDING_WORD, PADDING_WORDS, j, 8);
    FOUR_ROUNDS(MAJ, CH, PADDING_WORD, PADDING_WORDS, j, 12);
  }
  FEED_FORWARD(v);
}

#define IV pv_sm3_iv
#include "digest32_lanes.h"
