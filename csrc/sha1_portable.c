/* SHA-1, one lane, in plain C. */
#include "vec_scalar.h"

#define EXTEND pv_sha1_extend_portable
#define COMPRESS pv_sha1_compress_portable
#include "sha1_lanes.h"
