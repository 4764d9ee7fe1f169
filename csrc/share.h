/* Exact sharing: which of many contents are equal, so that equal work is done once. */
#ifndef PV_SHARE_H
#define PV_SHARE_H

#include <stdint.h>

enum { PV_SHARE_MOST = 4096 }; /* contents at a time: their table lies on the stack */

/* A keyed hash of some bytes, which only ever proposes. */
uint64_t pv_mix(uint64_t key, const uint8_t *p, uint64_t n);

/* A content is two pieces of bytes, either of which may be empty. */
typedef struct {
  const uint8_t *bytes[2];
  uint64_t size[2];
} pv_content;

typedef pv_content pv_content_of(const void *context, uint64_t i);

/* For n <= PV_SHARE_MOST contents, numbered from `first`: same_as[i] becomes the smallest k with content first + k equal
 * to content first + i. A hash under `key` only proposes; the bytes decide. Where a sample of the contents repeats
 * little, nothing more is looked at and every content stands for itself; so do contents whose first piece is empty,
 * few contents, and all with a key of 0. Returns how many stand for themselves. */
uint32_t pv_share_contents(pv_content_of *content, const void *context, uint64_t first, uint32_t n, uint64_t key,
                           uint32_t *same_as);

/* The same for items of a ragged batch. With a key of 0 every item stands for itself. */
uint32_t pv_share_items(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint32_t n, uint64_t key,
                        uint32_t *same_as);

#endif
