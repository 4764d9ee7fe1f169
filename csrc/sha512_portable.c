/* SHA-512 and SHA-384, one lane, in plain C. */
#include "vec64_scalar.h"

#define EXTEND384 pv_sha384_extend_portable
#define EXTEND512 pv_sha512_extend_portable
#define COMPRESS pv_sha512_compress_portable
#include "sha512_lanes.h"
