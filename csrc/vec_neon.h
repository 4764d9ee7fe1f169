/* Four lanes of 32 bits in NEON registers: the vector operations of the *_lanes.h templates. */
#include <arm_neon.h>

enum { LANES = 4 };
#define VEC uint32x4_t
#define ADD vaddq_u32
#define XOR veorq_u32
#define XOR3(x, y, z) XOR(XOR(x, y), z)
#define CH(x, y, z) vbslq_u32(x, y, z)
#define MAJ(x, y, z) vbslq_u32(XOR(x, y), z, y)
#define ROL(x, n) vsriq_n_u32(vshlq_n_u32(x, n), x, 32 - (n))
#define ROR(x, n) vsriq_n_u32(vshlq_n_u32(x, 32 - (n)), x, n)
#define SHR(x, n) vshrq_n_u32(x, n)
#define SET1(x) vdupq_n_u32(x)
#define LOAD(p) vld1q_u32(p)
#define STORE(p, v) vst1q_u32(p, v)
#define LEAVE() ((void)0)

/* Bytes [at, at + 32) of each lane as eight vectors of big-endian words. */
static inline void load_eight_words(const uint8_t *const *p, uint64_t at, VEC *w) {
  for (int half = 0; half < 2; half++) {
    VEC r[4];
    for (int i = 0; i < 4; i++) {
      r[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p[i] + at + 16 * half)));
    }
    const uint32x4x2_t a = vtrnq_u32(r[0], r[1]), b = vtrnq_u32(r[2], r[3]);
    w[4 * half] = vcombine_u32(vget_low_u32(a.val[0]), vget_low_u32(b.val[0]));
    w[4 * half + 1] = vcombine_u32(vget_low_u32(a.val[1]), vget_low_u32(b.val[1]));
    w[4 * half + 2] = vcombine_u32(vget_high_u32(a.val[0]), vget_high_u32(b.val[0]));
    w[4 * half + 3] = vcombine_u32(vget_high_u32(a.val[1]), vget_high_u32(b.val[1]));
  }
}
