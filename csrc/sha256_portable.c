/* SHA-256, one lane, in plain C. */
#include "vec_scalar.h"

#define EXTEND pv_sha256_extend_portable
#define COMPRESS pv_sha256_compress_portable
#include "sha256_lanes.h"
