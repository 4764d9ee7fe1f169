/* SHA-1, eight lanes, AVX2. */
#include "vec_avx2.h"

#define EXTEND pv_sha1_extend_avx2
#define COMPRESS pv_sha1_compress_avx2
#include "sha1_lanes.h"
