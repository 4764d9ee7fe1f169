/* Chains: what one PCR of one bank was extended with, in order, its digests lying one after the other. */
#ifndef PV_CHAIN_H
#define PV_CHAIN_H

#include "pyverify.h"

/* Compacts the digests of one bank of a slice of logs that pv_scan read.
 *   logs      rows of the slice; logs[0] belongs to log `first` of the batch
 *   chain_at  24 * (last - first) + 1 numbers: where chain (log, PCR) begins, in digests
 *   digests   room for `capacity` digests
 * Logs with a fault get empty chains. Returns PV_NO_ROOM where the digests do not fit, PV_BAD_ARGUMENT where an
 * event points outside its log. */
int pv_gather(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, const pv_log *logs,
              const pv_event *events, uint32_t bank, uint64_t *chain_at, uint8_t *digests, uint64_t capacity);

#endif
