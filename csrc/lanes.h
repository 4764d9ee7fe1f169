/* Lane scheduling: chains and messages of any number and lengths onto kernels of any width. */
#ifndef PV_LANES_H
#define PV_LANES_H

#include "pyverify.h"

/* As pv_extend, pv_hash and pv_hash_pieces, with arguments that were checked; usage may be NULL. */
void pv_extend_chains(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests, const uint64_t *chain_at,
                      uint64_t first, uint64_t last, uint8_t *values, pv_usage *usage);
void pv_hash_messages(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *begins,
                      const int64_t *ends, uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage);

#endif
