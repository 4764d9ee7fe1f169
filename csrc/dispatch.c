/* The table of kernels: for each bank the slowest first. Costs are cycles a step (all lanes by one digest) as measured
 * on Ice Lake and Sapphire Rapids cores, see bench/README.md; what matters is where one overtakes the other. That of
 * shani4 is in the proportion of Zen 3, 1.4 times shani2's. On those cores it is 2.0 (PERFORMANCE 1), which their wider
 * kernels keep from mattering. */
#include "dispatch.h"

#include "cpu.h"
#include "pyverify.h"

#define KERNEL(hash, compressor, isa, needs, lanes, cost) \
  {#isa, needs, lanes, cost, pv_##hash##_extend_##isa, pv_##compressor##_compress_##isa},

static const pv_kernel sha1[] = {
    KERNEL(sha1, sha1, portable, 0, 1, 770)
#ifdef PV_HAVE_AVX2
    KERNEL(sha1, sha1, avx2, PV_CPU_AVX2, 8, 730)
#endif
#ifdef PV_HAVE_AVX512
    KERNEL(sha1, sha1, avx512, PV_CPU_AVX512, 16, 620)
#endif
};

static const pv_kernel sha256[] = {
    KERNEL(sha256, sha256, portable, 0, 1, 1400)
#ifdef PV_HAVE_NEON
    KERNEL(sha256, sha256, neon, PV_CPU_NEON, 4, 3200)
#endif
#ifdef PV_HAVE_ARMV8_SHA2
    KERNEL(sha256, sha256, armv8, PV_CPU_SHA2, 1, 280)
#endif
#ifdef PV_HAVE_SHANI
    KERNEL(sha256, sha256, shani, PV_CPU_SHANI, 1, 300)
#endif
#ifdef PV_HAVE_AVX2
    KERNEL(sha256, sha256, avx2, PV_CPU_AVX2, 8, 2000)
#endif
#ifdef PV_HAVE_SHANI
    KERNEL(sha256, sha256, shani2, PV_CPU_SHANI, 2, 390)
    KERNEL(sha256, sha256, shani4, PV_CPU_SHANI, 4, 560)
#endif
#ifdef PV_HAVE_AVX512
    KERNEL(sha256, sha256, avx512vl, PV_CPU_AVX512, 8, 1090)
    KERNEL(sha256, sha256, avx512, PV_CPU_AVX512, 16, 1480)
#endif
};

static const pv_kernel sha384[] = {
    KERNEL(sha384, sha512, portable, 0, 1, 920)
#ifdef PV_HAVE_AVX2
    KERNEL(sha384, sha512, avx2, PV_CPU_AVX2, 4, 1500)
#endif
#ifdef PV_HAVE_AVX512
    KERNEL(sha384, sha512, avx512, PV_CPU_AVX512, 8, 1150)
#endif
};

static const pv_kernel sha512[] = {
    KERNEL(sha512, sha512, portable, 0, 1, 1700)
#ifdef PV_HAVE_AVX2
    KERNEL(sha512, sha512, avx2, PV_CPU_AVX2, 4, 2500)
#endif
#ifdef PV_HAVE_AVX512
    KERNEL(sha512, sha512, avx512, PV_CPU_AVX512, 8, 1850)
#endif
};

static const pv_kernel sm3_256[] = {
    KERNEL(sm3, sm3, portable, 0, 1, 1390)
#ifdef PV_HAVE_NEON
    KERNEL(sm3, sm3, neon, PV_CPU_NEON, 4, 3200)
#endif
#ifdef PV_HAVE_ARMV8_SM3
    KERNEL(sm3, sm3, armv8, PV_CPU_SM3, 1, 600)
#endif
#ifdef PV_HAVE_AVX2
    KERNEL(sm3, sm3, avx2, PV_CPU_AVX2, 8, 2080)
#endif
#ifdef PV_HAVE_AVX512
    KERNEL(sm3, sm3, avx512vl, PV_CPU_AVX512, 8, 1300)
    KERNEL(sm3, sm3, avx512, PV_CPU_AVX512, 16, 1600)
#endif
};

#define SHAPE(kernels, digest, block, word, words, iv) \
  {digest, block, word, words, iv, kernels, sizeof(kernels) / sizeof *(kernels)}

static const pv_hash_shape shapes[PV_BANKS] = {
    SHAPE(sha1, 20, 64, 4, 5, pv_sha1_iv),       SHAPE(sha256, 32, 64, 4, 8, pv_sha256_iv),
    SHAPE(sha384, 48, 128, 8, 8, pv_sha384_iv),  SHAPE(sha512, 64, 128, 8, 8, pv_sha512_iv),
    SHAPE(sm3_256, 32, 64, 4, 8, pv_sm3_iv),
};

const pv_hash_shape *pv_shape(uint32_t bank) { return bank < PV_BANKS ? &shapes[bank] : NULL; }

uint32_t pv_digest_size(uint32_t bank) { return bank < PV_BANKS ? shapes[bank].digest_size : 0; }

const pv_kernel *pv_kernel_at(uint32_t bank, uint32_t variant) {
  const pv_hash_shape *shape = pv_shape(bank);
  uint32_t features = pv_cpu_features();
  for (uint32_t i = 0; shape && i < shape->n_kernels; i++) {
    if ((shape->kernels[i].needs & ~features) == 0 && variant-- == 0) {
      return &shape->kernels[i];
    }
  }
  return NULL;
}

const pv_kernel *pv_kernel_for(uint32_t bank, uint64_t live, uint32_t *variant) {
  const pv_kernel *best = NULL, *kernel;
  uint64_t best_cost = UINT64_MAX;
  for (uint32_t i = 0; (kernel = pv_kernel_at(bank, i)) != NULL; i++) {
    uint64_t cost = (live + kernel->lanes - 1) / kernel->lanes * kernel->cost;
    if (cost < best_cost) {
      best = kernel;
      best_cost = cost;
      *variant = i;
    }
  }
  return best;
}

uint32_t pv_variants(uint32_t bank) {
  uint32_t n = 0;
  while (pv_kernel_at(bank, n)) {
    n++;
  }
  return n;
}

const char *pv_variant_name(uint32_t bank, uint32_t i) {
  const pv_kernel *kernel = pv_kernel_at(bank, i);
  return kernel ? kernel->name : NULL;
}
