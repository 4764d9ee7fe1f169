/* Logs for the tests: files, edits, and scan and replay of a batch in blocks of exactly the size that the contract
 * asks for, so that AddressSanitizer sees one byte too far. */
#ifndef PV_LOGS_H
#define PV_LOGS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "pyverify.h"

#define ALL_BANKS ((1u << PV_BANKS) - 1)

typedef struct {
  uint8_t *bytes;
  size_t size;
} bytes;

/* A block of exactly this size. */
static inline uint8_t *block(size_t size) {
  uint8_t *p = malloc(size);
  if (!p) {
    perror("malloc");
    exit(2);
  }
  return p;
}

static inline bytes copy(const void *from, size_t size) {
  bytes b = {block(size), size};
  memcpy(b.bytes, from, size);
  return b;
}

static inline bytes read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) {
    perror(path);
    exit(2);
  }
  bytes b = {NULL, (size_t)ftell(file)};
  b.bytes = block(b.size);
  rewind(file);
  if (fread(b.bytes, 1, b.size, file) != b.size) {
    perror(path);
    exit(2);
  }
  fclose(file);
  return b;
}

static inline void append(bytes *b, const void *more, size_t size) {
  bytes longer = {block(b->size + size), b->size + size};
  memcpy(longer.bytes, b->bytes, b->size);
  memcpy(longer.bytes + b->size, more, size);
  free(b->bytes);
  *b = longer;
}

static inline void append_le32(bytes *b, uint32_t v) {
  uint8_t p[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
  append(b, p, 4);
}

/* What pv_scan says of a slice. */
typedef struct {
  int status;
  pv_log *logs; /* rows of the batch up to the end of the slice */
  pv_event *events;
  uint64_t capacity, n_events;
} scan;

static inline scan scan_slice(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last) {
  scan s = {.capacity = pv_scan_capacity(offsets, first, last)};
  s.logs = (pv_log *)block(last * sizeof *s.logs);
  s.events = (pv_event *)block(s.capacity * sizeof *s.events);
  s.status = pv_scan(blob, offsets, first, last, s.logs, s.events, s.capacity, &s.n_events);
  return s;
}

static inline scan scan_one(bytes log) {
  const int64_t offsets[2] = {0, (int64_t)log.size};
  return scan_slice(log.bytes, offsets, 0, 1);
}

static inline void free_scan(scan *s) {
  free(s->logs);
  free(s->events);
}

/* What pv_replay says of a batch: rows [first, last) of it, the others left as 0xA5. */
typedef struct {
  int status;
  pv_log *logs;
  uint8_t *values[PV_BANKS];
} replay;

static inline replay replay_batch(const uint8_t *blob, const int64_t *offsets, uint64_t n, uint64_t first,
                                  uint64_t last) {
  static const int32_t fastest[PV_BANKS] = {-1, -1, -1, -1, -1};
  replay r = {.logs = (pv_log *)block(n * sizeof(pv_log))};
  memset(r.logs, 0xA5, n * sizeof(pv_log));
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    size_t size = n * PV_PCRS * pv_digest_size(bank);
    r.values[bank] = block(size);
    memset(r.values[bank], 0xA5, size);
  }
  uint64_t scratch_size = pv_replay_scratch(offsets, first, last);
  uint8_t *scratch = aligned_alloc(64, scratch_size);
  r.status = pv_replay(blob, offsets, first, last, ALL_BANKS, fastest, KEY, r.logs, r.values[0], r.values[1], r.values[2],
                       r.values[3], r.values[4], scratch, scratch_size);
  free(scratch);
  return r;
}

static inline replay replay_one(bytes log) {
  const int64_t offsets[2] = {0, (int64_t)log.size};
  return replay_batch(log.bytes, offsets, 1, 0, 1);
}

static inline void free_replay(replay *r) {
  free(r->logs);
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    free(r->values[bank]);
  }
}

static inline const uint8_t *pcr_value(const replay *r, uint64_t log, uint32_t bank, uint32_t pcr) {
  return r->values[bank] + (log * PV_PCRS + pcr) * pv_digest_size(bank);
}

/* Whether the values of a log's row are zero bytes in every bank. */
static inline int row_is_zero(const replay *r, uint64_t log) {
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    const uint8_t *row = pcr_value(r, log, bank, 0);
    for (size_t i = 0; i < (size_t)PV_PCRS * pv_digest_size(bank); i++) {
      if (row[i]) {
        return 0;
      }
    }
  }
  return 1;
}

#endif
