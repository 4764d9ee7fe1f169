/* SHA-1, sixteen lanes, AVX-512. */
#include "vec_avx512.h"

#define EXTEND pv_sha1_extend_avx512
#define COMPRESS pv_sha1_compress_avx512
#include "sha1_lanes.h"
