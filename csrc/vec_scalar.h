/* One lane of 32 bits in a general register: the operations of the *_lanes.h templates in plain C. */
#include "hash.h"

enum { LANES = 1 };
#define VEC uint32_t
#define ADD(x, y) ((x) + (y))
#define XOR(x, y) ((x) ^ (y))
#define XOR3(x, y, z) ((x) ^ (y) ^ (z))
#define CH(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MAJ(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#define ROL(x, n) pv_rol32(x, n)
#define ROR(x, n) pv_rol32(x, 32 - (n))
#define SHR(x, n) ((x) >> (n))
#define SET1(x) (x)
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define LEAVE() ((void)0)

/* Bytes [at, at + 32) of the lane as eight big-endian words. */
static inline void load_eight_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  for (int i = 0; i < 8; i++) {
    w[i] = pv_be32(p[0] + at + 4 * i);
  }
}
