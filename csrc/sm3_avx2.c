/* SM3, eight lanes, AVX2. */
#include "vec_avx2.h"

#define EXTEND pv_sm3_extend_avx2
#define COMPRESS pv_sm3_compress_avx2
#include "sm3_lanes.h"
