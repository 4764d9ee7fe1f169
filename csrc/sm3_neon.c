/* SM3, four lanes, NEON. */
#include "vec_neon.h"

#define EXTEND pv_sm3_extend_neon
#define COMPRESS pv_sm3_compress_neon
#include "sm3_lanes.h"
