/* Exact lookup: a keyed hash finds candidates, memcmp decides; and pieces of a blob side by side, to be looked up. */
#include "find.h"

#include <string.h>

#include "eventlog.h"
#include "share.h"

static const uint64_t TAG = 0xFFFFFFFF00000000; /* half of an item's hash; the other half of a slot is number + 1 */

uint64_t pv_index_slots(uint64_t n) {
  uint64_t slots = 2;
  while (slots < 2 * n && slots < (uint64_t)1 << 62) {
    slots *= 2;
  }
  return slots;
}

static int is_table(const int64_t *table_at, uint64_t n, uint64_t n_slots) {
  return n < UINT32_MAX && n_slots >= pv_index_slots(n) && (n_slots & (n_slots - 1)) == 0 &&
         pv_offsets_are_sane(table_at, 0, n);
}

uint32_t pv_find_item(const lookup *t, const uint8_t *item, uint64_t size) {
  uint64_t hash = pv_mix(t->key, item, size), mask = t->n_slots - 1;
  for (uint64_t slot = hash & mask, steps = 0; t->slots[slot] && steps < t->n_slots; slot = (slot + 1) & mask, steps++) {
    uint64_t number = (t->slots[slot] & ~TAG) - 1;
    if ((t->slots[slot] & TAG) == (hash & TAG) && number < t->n &&
        (uint64_t)(t->table_at[number + 1] - t->table_at[number]) == size &&
        (!size || memcmp(t->table + t->table_at[number], item, size) == 0)) {
      return (uint32_t)number;
    }
  }
  return PV_NOT_FOUND;
}

int pv_index(const uint8_t *table, const int64_t *table_at, uint64_t n, uint64_t key, uint64_t *slots,
             uint64_t n_slots) {
  if (!is_table(table_at, n, n_slots)) {
    return PV_BAD_ARGUMENT;
  }
  memset(slots, 0, n_slots * sizeof *slots);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t hash = pv_mix(key, table + table_at[i], (uint64_t)(table_at[i + 1] - table_at[i]));
    uint64_t slot = hash & (n_slots - 1);
    while (slots[slot]) {
      slot = (slot + 1) & (n_slots - 1);
    }
    slots[slot] = (hash & TAG) | (i + 1);
  }
  return PV_OK;
}

int pv_is_lookup(const lookup *t) { return is_table(t->table_at, t->n, t->n_slots); }

int pv_find(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, const uint8_t *table,
            const int64_t *table_at, uint64_t n, uint64_t key, const uint64_t *slots, uint64_t n_slots,
            uint32_t *found) {
  lookup t = {table, table_at, n, key, slots, n_slots};
  if (!pv_offsets_are_sane(offsets, first, last) || !pv_is_lookup(&t)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    found[i] = pv_find_item(&t, blob + offsets[i], (uint64_t)(offsets[i + 1] - offsets[i]));
  }
  return PV_OK;
}

int pv_collect(const uint8_t *blob, uint64_t blob_size, const int64_t *at, const uint32_t *sizes, uint64_t n,
               uint8_t *collected, uint64_t capacity) {
  uint64_t used = 0;
  for (uint64_t i = 0; i < n; i++) {
    if (at[i] < 0 || (uint64_t)at[i] > blob_size || sizes[i] > blob_size - (uint64_t)at[i]) {
      return PV_BAD_ARGUMENT;
    }
    if (sizes[i] > capacity - used) {
      return PV_NO_ROOM;
    }
    memcpy(collected + used, blob + at[i], sizes[i]);
    used += sizes[i];
  }
  return PV_OK;
}
