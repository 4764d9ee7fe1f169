/* SM3, eight lanes, AVX-512 instructions on 256-bit registers. */
#include "vec_avx2.h"

#define EXTEND pv_sm3_extend_avx512vl
#define COMPRESS pv_sm3_compress_avx512vl
#include "sm3_lanes.h"
