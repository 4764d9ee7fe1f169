/* What the replay needs of the scan beside the public interface. */
#ifndef PV_EVENTLOG_H
#define PV_EVENTLOG_H

#include "pyverify.h"

/* pv_scan over a slice of a block of logs, of which same_as[i - block] != i - block stand for another: these get an empty
 * row and no events. */
int pv_scan_distinct(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t block,
                     const uint32_t *same_as, pv_log *logs, pv_event *events, uint64_t capacity, uint64_t *n_events);

/* Whether offsets[first .. last] are non-negative and do not decrease. */
int pv_offsets_are_sane(const int64_t *offsets, uint64_t first, uint64_t last);

#endif
