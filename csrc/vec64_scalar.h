/* One lane of 64 bits in a general register: the operations of sha512_lanes.h in plain C. */
#include "hash.h"

enum { LANES = 1 };
#define VEC uint64_t
#define ADD(x, y) ((x) + (y))
#define XOR3(x, y, z) ((x) ^ (y) ^ (z))
#define CH(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MAJ(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#define ROR(x, n) pv_ror64(x, n)
#define ROR8(x) pv_ror64(x, 8)
#define SHR(x, n) ((x) >> (n))
#define SET1(x) (x)
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define LEAVE() ((void)0)

/* Bytes [at, at + 16) of the lane as two big-endian words. */
static inline void load_two_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  w[0] = pv_be64(p[0] + at);
  w[1] = pv_be64(p[0] + at + 8);
}
