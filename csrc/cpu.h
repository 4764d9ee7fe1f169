/* What the processor and the operating system let kernels use. */
#ifndef PV_CPU_H
#define PV_CPU_H

#include <stdint.h>

enum {
  PV_CPU_SHANI = 1,
  PV_CPU_AVX2 = 2,
  PV_CPU_AVX512 = 4, /* F, BW, VL and DQ */
  PV_CPU_SHA2 = 8,
  PV_CPU_SM3 = 16,
  PV_CPU_NEON = 32,
};

uint32_t pv_cpu_features(void);

#endif
