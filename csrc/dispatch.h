/* The hash of each bank: its shape, and the kernels there are for it on this machine. */
#ifndef PV_DISPATCH_H
#define PV_DISPATCH_H

#include "hash.h"

typedef struct {
  const char *name;
  uint32_t needs; /* CPU features of cpu.h */
  uint32_t lanes;
  uint32_t cost; /* of one step of all its lanes, in cycles: measured, and only compared with each other */
  pv_extend_lanes *extend;
  pv_compress_lanes *compress;
} pv_kernel;

typedef struct {
  uint32_t digest_size, block_size;
  uint32_t word_size; /* of the state: 4 or 8 */
  uint32_t words;     /* of the state that compress uses */
  const void *iv;     /* so many words */
  const pv_kernel *kernels;
  uint32_t n_kernels;
} pv_hash_shape;

/* The hash of a bank, NULL where there is no such bank. */
const pv_hash_shape *pv_shape(uint32_t bank);

/* The variant-th kernel that runs on this machine, NULL where there is none. */
const pv_kernel *pv_kernel_at(uint32_t bank, uint32_t variant);

/* The kernel that advances so many lanes by one step soonest, and its number among those that run here. */
const pv_kernel *pv_kernel_for(uint32_t bank, uint64_t live, uint32_t *variant);

#endif
