/* SM3, one lane, in plain C. */
#include "vec_scalar.h"

#define EXTEND pv_sm3_extend_portable
#define COMPRESS pv_sm3_compress_portable
#include "sm3_lanes.h"
