/* What the replay needs of the scan beside the public interface. */
#ifndef PV_EVENTLOG_H
#define PV_EVENTLOG_H

#include "pyverify.h"

/* Whether offsets[first .. last] are non-negative and do not decrease. */
int pv_offsets_are_sane(const int64_t *offsets, uint64_t first, uint64_t last);

#endif
