/* SHA-256, eight lanes, AVX2. */
#include "vec_avx2.h"

#define EXTEND pv_sha256_extend_avx2
#define COMPRESS pv_sha256_compress_avx2
#include "sha256_lanes.h"
