/* SHA-512 and SHA-384, four lanes, AVX2. */
#include "vec64_avx2.h"

#define EXTEND384 pv_sha384_extend_avx2
#define EXTEND512 pv_sha512_extend_avx2
#define COMPRESS pv_sha512_compress_avx2
#include "sha512_lanes.h"
