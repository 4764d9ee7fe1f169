/* What the parts of the log reader share: where they are in a log, byte order, faults. */
#ifndef PV_READER_H
#define PV_READER_H

#include <string.h>

#include "pyverify.h"

enum {
  EV_NO_ACTION = 3,
  EV_EFI_HCRTM_EVENT = (int)0x80000010,
  LEGACY_HEADER = 32,   /* pcr, type, SHA-1 digest, size */
  MIN_AGILE_ENTRY = 16, /* pcr, type, digest count, size */
  MAX_ALGORITHMS = 16,  /* TPM2_NUM_PCR_BANKS of the TSS (SPEC 1.1) */
};

typedef struct {
  uint32_t id, size;
  int bank; /* -1: not known here, skipped */
} pv_algorithm;

/* An entry with every algorithm in the header's order: offsets from its beginning. */
typedef struct {
  uint32_t size;                /* up to its data */
  uint32_t id_at[MAX_ALGORITHMS];
  uint32_t digest_at[PV_BANKS]; /* of a bank that the header does not list, whatever `absent` makes of it */
  uint32_t absent[PV_BANKS];    /* PV_NO_DIGEST for such a bank, else 0 */
} pv_usual;

typedef struct {
  const uint8_t *bytes;
  uint64_t size;
  pv_log *row;
  pv_event *events;
  uint64_t capacity;
  pv_algorithm algorithms[MAX_ALGORITHMS];
  uint32_t n_algorithms;
  pv_usual usual;
  int locality_seen, hcrtm_seen;
} pv_reader;

static inline uint32_t pv_le16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t pv_le32(const uint8_t *p) { return pv_le16(p) | pv_le16(p + 2) << 16; }

/* Marks the log as bad. Returns 0, which is what every reader below returns for "no further". */
static inline uint64_t pv_fault(pv_reader *r, enum pv_fault code, uint64_t at) {
  r->row->fault = code;
  r->row->fault_at = at;
  return 0;
}

static inline int pv_is_zero(const uint8_t *p, uint64_t n) {
  while (n && !*p) {
    p++, n--;
  }
  return n == 0;
}

static inline int pv_has_signature(const uint8_t *data, uint64_t size, const char *signature) {
  return size >= 16 && memcmp(data, signature, 16) == 0;
}

/* entry.c: one entry at a time. They return its size, or 0 with the fault set. */
uint64_t pv_read_legacy(pv_reader *r, uint64_t at, pv_event *e);

/* `present` receives the banks that it has digests for, `set` whether an EV_NO_ACTION has one that is not zero. */
uint64_t pv_read_agile(pv_reader *r, uint64_t at, pv_event *e, uint32_t *present, int *set);

/* Reads crypto-agile entries from `at` on for as long as they are extended events with every algorithm in the header's
 * order, nothing of which needs another look: nearly all. Returns where the first other one begins. */
uint64_t pv_read_usual(pv_reader *r, uint64_t at);

/* What such an entry looks like, once the header is read. */
void pv_expect_usual(pv_reader *r);

/* Asks for what comes some six events later, be it in the next log: a third less time when cold, a tenth less than at
 * half that distance. */
static inline void pv_look_ahead(const uint8_t *p) {
  for (uintptr_t ahead = 1536; ahead < 1536 + 256; ahead += 64) {
    __builtin_prefetch((const void *)((uintptr_t)p + ahead));
  }
}

/* At an entry boundary: 1 where the rest of the log is padding, or a fault that it should be. */
int pv_read_padding(pv_reader *r, uint64_t at);

/* header.c: the first entry, which decides the form of the log. Returns its size, or 0 with the fault set. */
uint64_t pv_read_first(pv_reader *r, pv_event *e);

#endif
