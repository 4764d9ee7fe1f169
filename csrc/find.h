/* Exact lookup of items in a table, for the parts of the core. */
#ifndef PV_FIND_H
#define PV_FIND_H

#include "pyverify.h"

/* A table and its index, as pv_find takes them. */
typedef struct {
  const uint8_t *table;
  const int64_t *table_at;
  uint64_t n, key;
  const uint64_t *slots;
  uint64_t n_slots;
} lookup;

/* Whether the table and the size of its index can be right. */
int pv_is_lookup(const lookup *t);

/* The number of an equal item, or PV_NOT_FOUND. */
uint32_t pv_find_item(const lookup *t, const uint8_t *item, uint64_t size);

#endif
