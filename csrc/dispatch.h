/* Which variants of a bank's hash there are, and which one a call uses. */
#ifndef PV_DISPATCH_H
#define PV_DISPATCH_H

#include "hash.h"

/* The variant of this index, -1 for the fastest; NULL where bank or variant do not exist. */
const pv_hash_variant *pv_variant(uint32_t bank, int32_t variant);

#endif
