/* SHA-256, four lanes, NEON. */
#include "vec_neon.h"

#define EXTEND pv_sha256_extend_neon
#define COMPRESS pv_sha256_compress_neon
#include "sha256_lanes.h"
