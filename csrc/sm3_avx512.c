/* SM3, sixteen lanes, AVX-512. */
#include "vec_avx512.h"

#define EXTEND pv_sm3_extend_avx512
#define COMPRESS pv_sm3_compress_avx512
#include "sm3_lanes.h"
