/* SHA-512 and SHA-384, eight lanes, AVX-512. */
#include "vec64_avx512.h"

#define EXTEND384 pv_sha384_extend_avx512
#define EXTEND512 pv_sha512_extend_avx512
#define COMPRESS pv_sha512_compress_avx512
#include "sha512_lanes.h"
