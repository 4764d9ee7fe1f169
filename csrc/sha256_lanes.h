/* SHA-256 (FIPS 180-4, 6.2) over lanes: the same word of all lanes in one vector. A template: an ISA file includes its
 * vec_*.h, names EXTEND and COMPRESS, and includes this. */
#include "hash.h"

#define BIG0(x) XOR3(ROR(x, 2), ROR(x, 13), ROR(x, 22))
#define BIG1(x) XOR3(ROR(x, 6), ROR(x, 11), ROR(x, 25))
#define SMALL0(x) XOR3(ROR(x, 7), ROR(x, 18), SHR(x, 3))
#define SMALL1(x) XOR3(ROR(x, 17), ROR(x, 19), SHR(x, 10))
#include "sha2_rounds.h"

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

#define IV pv_sha256_iv
#include "digest32_lanes.h"
