/* IMA lists for the tests: translation, scan and replay in blocks of exactly the size that the contract asks for. */
#ifndef PV_IMA_LISTS_H
#define PV_IMA_LISTS_H

#include "logs.h"

enum { SHA1 = 0 };

/* What pv_ima_from_ascii and pv_ima_scan say of a batch. */
typedef struct {
  int status;
  bytes binary;
  int64_t *binary_at;
  pv_ima_list *translated, *lists;
  pv_ima_entry *entries;
  uint64_t n_entries;
} ima_scan;

static inline ima_scan scan_ima(const uint8_t *blob, const int64_t *offsets, const uint8_t *banks,
                                const uint8_t *is_ascii, uint64_t n) {
  ima_scan s = {.n_entries = 0};
  uint64_t capacity = pv_ima_binary_capacity(offsets, 0, n);
  uint8_t *room = block(capacity);
  s.translated = (pv_ima_list *)block(n * sizeof *s.translated);
  s.lists = (pv_ima_list *)block(n * sizeof *s.lists);
  s.binary_at = (int64_t *)block((n + 1) * sizeof *s.binary_at);
  s.status = pv_ima_from_ascii(blob, offsets, banks, is_ascii, 0, n, s.translated, room, capacity, s.binary_at);
  if (s.status != PV_OK) {
    exit(2);
  }
  s.binary = copy(room, (size_t)s.binary_at[n]);
  free(room);
  uint64_t most = pv_ima_capacity(s.binary_at, 0, n);
  s.entries = (pv_ima_entry *)block(most * sizeof *s.entries);
  s.status = pv_ima_scan(s.binary.bytes, s.binary_at, banks, 0, n, s.lists, s.entries, most, &s.n_entries);
  return s;
}

static inline ima_scan scan_one_ima(bytes list, uint8_t bank, uint8_t is_ascii) {
  const int64_t offsets[2] = {0, (int64_t)list.size};
  return scan_ima(list.bytes, offsets, &bank, &is_ascii, 1);
}

static inline void free_ima(ima_scan *s) {
  free(s->binary.bytes);
  free(s->binary_at);
  free(s->translated);
  free(s->lists);
  free(s->entries);
}

/* The messages of a batch, equal ones once or not, and the blob that they are in: the lists', and what was built. */
typedef struct {
  int status;
  bytes blob;
  int64_t *begins, *ends;
  uint32_t *of;
  uint64_t n;
} ima_messages;

static inline ima_messages messages_of(const ima_scan *s, uint64_t n_lists, uint64_t key) {
  ima_messages m = {.n = 0};
  uint64_t capacity = 0, n_built = 0, n_slots = pv_index_slots(s->n_entries);
  for (uint64_t k = 0; k < s->n_entries; k++) {
    capacity += s->entries[k].template_id == PV_IMA_LEGACY ? 276 : 0;
  }
  bytes built = {block(capacity), capacity};
  m.begins = (int64_t *)block(s->n_entries * sizeof *m.begins);
  m.ends = (int64_t *)block(s->n_entries * sizeof *m.ends);
  m.of = (uint32_t *)block(s->n_entries * sizeof *m.of);
  uint64_t *slots = (uint64_t *)block(n_slots * sizeof *slots);
  m.status = pv_ima_messages(s->binary.bytes, s->binary.size, s->binary_at, n_lists, s->lists, s->entries, s->n_entries,
                             key, slots, n_slots, built.bytes, built.size, m.begins, m.ends, m.of, &m.n, &n_built);
  m.blob = copy(s->binary.bytes, s->binary.size);
  append(&m.blob, built.bytes, (size_t)n_built);
  free(built.bytes);
  free(slots);
  return m;
}

static inline void free_messages(ima_messages *m) {
  free(m->blob.bytes);
  free(m->begins);
  free(m->ends);
  free(m->of);
}

#endif
