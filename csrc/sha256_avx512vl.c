/* SHA-256, eight lanes, AVX-512 instructions on 256-bit registers. */
#include "vec_avx2.h"

#define EXTEND pv_sha256_extend_avx512vl
#define COMPRESS pv_sha256_compress_avx512vl
#include "sha256_lanes.h"
