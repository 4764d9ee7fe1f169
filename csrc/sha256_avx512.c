/* SHA-256, sixteen lanes, AVX-512. */
#include "vec_avx512.h"

#define EXTEND pv_sha256_extend_avx512
#define COMPRESS pv_sha256_compress_avx512
#include "sha256_lanes.h"
