/* CPU features, read once: a hypervisor traps every CPUID, which takes tens of microseconds. */
#include "cpu.h"

#include <stdatomic.h>
#include <stddef.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* State components of XCR0 (Intel SDM volume 1, 13.3): SSE and AVX; opmask, the two of ZMM. */
enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xE6 };

static uint32_t xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static uint32_t detect(void) {
  const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  uint32_t a, b, c, d, features = 0;
  if (__get_cpuid_max(0, NULL) < 7) {
    return 0;
  }
  __cpuid(1, a, b, c, d);
  const uint32_t enabled = c & bit_OSXSAVE ? xcr0() : 0;
  const int sse41 = (c & bit_SSSE3) && (c & bit_SSE4_1), avx = (c & bit_AVX) && (enabled & XCR0_YMM) == XCR0_YMM;
  __cpuid_count(7, 0, a, b, c, d);
  if (sse41 && (b & bit_SHA)) {
    features |= PV_CPU_SHANI;
  }
  if (avx && (b & bit_AVX2)) {
    features |= PV_CPU_AVX2;
    if ((b & avx512) == avx512 && (enabled & XCR0_ZMM) == XCR0_ZMM) {
      features |= PV_CPU_AVX512;
    }
  }
  return features;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static uint32_t detect(void) {
  const unsigned long hwcap = getauxval(AT_HWCAP);
  uint32_t features = 0;
  if (hwcap & HWCAP_ASIMD) {
    features |= PV_CPU_NEON;
  }
  if (hwcap & HWCAP_SHA2) {
    features |= PV_CPU_SHA2;
  }
  if (hwcap & HWCAP_SM3) {
    features |= PV_CPU_SM3;
  }
  return features;
}
#else
static uint32_t detect(void) { return 0; }
#endif

uint32_t pv_cpu_features(void) {
  static _Atomic uint32_t cached;
  const uint32_t known = UINT32_C(1) << 31;
  uint32_t features = atomic_load_explicit(&cached, memory_order_relaxed);
  if (!(features & known)) { /* threads that race here all find the same */
    features = detect() | known;
    atomic_store_explicit(&cached, features, memory_order_relaxed);
  }
  return features & ~known;
}
