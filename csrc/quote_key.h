/* Public keys as libcrypto's EVP_PKEY, and what is known of their curves. */
#ifndef PV_QUOTE_KEY_H
#define PV_QUOTE_KEY_H

#include "quote.h"

enum { CURVES = 4 };

/* The keys that are there: one RSA key, and one of each curve, whose point is replaced by the next one. */
typedef struct {
  const pv_crypto *crypto;
  void *rsa_context, *rsa;
  void *points[CURVES];
} pv_key_builder;

/* The key of a public area of `key_bytes`, NULL where libcrypto refuses it. It is the builder's, and good until the next
 * one is asked for. */
void *pv_build_key(pv_key_builder *b, const uint8_t *key_bytes, const pv_public *key);
void pv_free_builder(pv_key_builder *b);

/* The order n of the curve's base point, pv_field_size bytes, big-endian; NULL for curves not known here. */
const uint8_t *pv_curve_order(uint32_t curve);

#endif
