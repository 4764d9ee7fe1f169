/* TCG event logs, SHA-1 form and crypto-agile form (SPEC 2; TCG PC Client Platform Firmware Profile): bytes in,
 * event rows out. Every length is untrusted: it is widened to 64 bits and compared with what is left, never added. */
#include "eventlog.h"

#include <string.h>

#include "hash.h"

enum {
  EV_NO_ACTION = 3,
  EV_EFI_HCRTM_EVENT = (int)0x80000010,
  LEGACY_HEADER = 32, /* pcr, type, SHA-1 digest, size */
  MIN_AGILE_ENTRY = 16, /* pcr, type, digest count, size */
  MAX_ALGORITHMS = 16, /* TPM2_NUM_PCR_BANKS of the TSS (SPEC 1.1) */
  MAX_DIGEST = 64,
  AHEAD = 640, /* bytes that are asked for before they are needed: some three events (a third less time when cold) */
};

/* TPM_ALG_ID and digest size of each bank, in the order of api.h (TCG Algorithm Registry). */
static const struct {
  uint32_t id, size;
} banks[PV_BANKS] = {{0x0004, 20}, {0x000B, 32}, {0x000C, 48}, {0x000D, 64}, {0x0012, 32}};

typedef struct {
  uint32_t id, size;
  int bank; /* -1: not known here, skipped */
} algorithm;

typedef struct {
  const uint8_t *bytes;
  uint64_t size;
  pv_log *row;
  pv_event *events;
  uint64_t capacity;
  algorithm algorithms[MAX_ALGORITHMS];
  uint32_t n_algorithms;
  uint32_t digests_size; /* of an event with every algorithm: numbers and digests */
  int locality_seen, hcrtm_seen;
} reader;

static uint32_t le16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t le32(const uint8_t *p) { return le16(p) | le16(p + 2) << 16; }

static const char *const fault_codes[] = {
    NULL,          "log.not-a-log",  "log.truncated", "log.header",   "log.algorithms",
    "log.digests", "log.event-size", "log.pcr-index", "log.trailing", "log.too-large",
};

const char *pv_fault_code(uint32_t fault) {
  return fault < sizeof fault_codes / sizeof *fault_codes ? fault_codes[fault] : NULL;
}

/* Marks the log as bad. Returns 0, which is what every reader below returns for "no further". */
static uint64_t fault(reader *r, enum pv_fault code, uint64_t at) {
  r->row->fault = code;
  r->row->fault_at = at;
  return 0;
}

static int is_zero(const uint8_t *p, uint64_t n) {
  while (n && !*p) {
    p++, n--;
  }
  return n == 0;
}

static int has_signature(const uint8_t *data, uint64_t size, const char *signature) {
  return size >= 16 && memcmp(data, signature, 16) == 0;
}

/* StartupLocality decides how PCR 0 starts. It counts once, in PCR 0, before PCR 0 is extended (SPEC 3.2, 4.2). */
static void read_locality(reader *r, uint32_t pcr, const uint8_t *data, uint64_t size) {
  if (pcr != 0) {
    r->row->notes |= PV_NOTE_START_PCR;
  } else if (size != 17 || (data[16] != 0 && data[16] != 3 && data[16] != 4)) {
    r->row->notes |= PV_NOTE_START_VALUE;
  } else if (r->locality_seen) {
    r->row->notes |= PV_NOTE_START_DUPLICATE;
  } else if (r->row->touched & 1) {
    r->row->notes |= PV_NOTE_START_LATE;
  } else {
    r->locality_seen = 1;
    r->row->locality = data[16];
  }
}

/* An H-CRTM sequence leaves PCR 0 at 00..04; without a StartupLocality its event is what says so (SPEC 0.3, 4.2). */
static void read_hcrtm(reader *r, uint32_t pcr) {
  if (pcr != 0) {
    r->row->notes |= PV_NOTE_START_PCR;
  } else if (r->hcrtm_seen) {
    r->row->notes |= PV_NOTE_START_DUPLICATE;
  } else if (r->row->touched & 1) {
    r->row->notes |= PV_NOTE_START_LATE;
  } else {
    r->hcrtm_seen = 1;
    if (!r->locality_seen) {
      r->row->locality = 4;
    }
  }
}

/* What the log as a whole learns from an event whose bounds are checked. */
static void note_event(reader *r, const pv_event *e, uint32_t present, int digest_set) {
  pv_log *row = r->row;
  const uint8_t *data = r->bytes + e->data_at;
  if (e->type == EV_NO_ACTION) {
    if (digest_set && e->pcr < PV_PCRS) {
      row->notes |= PV_NOTE_NO_ACTION_DIGEST;
    }
    if (has_signature(data, e->data_size, "StartupLocality")) {
      read_locality(r, e->pcr, data, e->data_size);
    } else if (row->n_events && e->data_size >= 14 && memcmp(data, "Spec ID Event0", 14) == 0) {
      row->notes |= PV_NOTE_DUPLICATE_HEADER;
    }
    return;
  }
  if (e->type == (uint32_t)EV_EFI_HCRTM_EVENT) {
    read_hcrtm(r, e->pcr);
  }
  row->touched |= 1u << e->pcr;
  if (row->banks & ~present) {
    row->incomplete |= row->banks & ~present;
    row->notes |= PV_NOTE_MISSING_DIGEST;
  }
}

/* PCR numbers: 0-23. Records that are never extended may name an NV index (handle type 0x01, PFP 1.06) or, on
 * Windows, 0xFFFFFFFF (SPEC 0.1, 2.3). */
static uint64_t check_pcr(reader *r, uint64_t at) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (left < 4 || le32(p) < PV_PCRS) {
    return 1;
  }
  int never_a_pcr = le32(p) == UINT32_MAX || le32(p) >> 24 == 1;
  return never_a_pcr && (left < 8 || le32(p + 4) == EV_NO_ACTION) ? 1 : fault(r, PV_FAULT_PCR_INDEX, at);
}

/* At an entry boundary: the rest of the log area may be all 0xFF (EDK2) or all 0x00 (Linux's end mark), SPEC 2.4.
 * Fewer than 8 such bytes cannot be told from an entry that was cut. Returns 1 where the rest is no entry. */
static int read_padding(reader *r, uint64_t at) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  uint64_t empty = r->row->format == PV_FORMAT_TCG1 ? LEGACY_HEADER : MIN_AGILE_ENTRY;
  uint8_t fill = p[0];
  if (left < 8 || le32(p) != le32(p + 4) || (le32(p) != 0 && le32(p) != UINT32_MAX)) {
    return 0;
  }
  if (fill == 0 && !is_zero(p, left < empty ? left : empty)) {
    return 0; /* EV_PREBOOT_CERT in PCR 0, with digests or data */
  }
  for (uint64_t i = 8; i < left; i++) {
    if (p[i] != fill) {
      fault(r, PV_FAULT_TRAILING, at + i);
      return 1;
    }
  }
  r->row->notes |= PV_NOTE_PADDING;
  r->row->padding = left;
  return 1;
}

/* The data of an event: `left` bytes follow its size field, which lies at `size_at`. */
static uint64_t check_data_size(reader *r, uint64_t data_size, uint64_t left, uint64_t size_at, uint64_t entry_at) {
  if (data_size <= left) {
    return 1;
  }
  return data_size > PV_PLAUSIBLE_EVENT_SIZE ? fault(r, PV_FAULT_EVENT_SIZE, size_at)
                                             : fault(r, PV_FAULT_TRUNCATED, entry_at);
}

/* Reads one entry in the SHA-1 form. Returns its size, or 0 with the fault set. */
static uint64_t read_legacy(reader *r, uint64_t at, pv_event *e) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (!check_pcr(r, at)) {
    return 0;
  }
  if (left < LEGACY_HEADER) {
    return fault(r, PV_FAULT_TRUNCATED, at);
  }
  e->pcr = le32(p);
  e->type = le32(p + 4);
  e->data_size = le32(p + 28);
  if (!check_data_size(r, e->data_size, left - LEGACY_HEADER, at + 28, at)) {
    return 0;
  }
  e->at = (uint32_t)at;
  e->data_at = (uint32_t)at + LEGACY_HEADER;
  for (unsigned b = 0; b < PV_BANKS; b++) {
    e->digest_at[b] = PV_NO_DIGEST;
  }
  e->digest_at[0] = (uint32_t)at + 8;
  return LEGACY_HEADER + (uint64_t)e->data_size;
}

/* The common case, all algorithms in the header's order, at the price of one bounds check. Returns 0 where it is not. */
static int read_digests_in_order(const reader *r, uint64_t at, uint32_t count, pv_event *e) {
  uint64_t here = at + 12;
  if (count != r->n_algorithms || r->size - here < r->digests_size) {
    return 0;
  }
  for (uint32_t i = 0; i < count; i++) {
    const algorithm *a = &r->algorithms[i];
    if (le16(r->bytes + here) != a->id) {
      return 0;
    }
    if (a->bank >= 0) {
      e->digest_at[a->bank] = (uint32_t)here + 2;
    }
    here += 2 + a->size;
  }
  return 1;
}

/* Reads the digests of a crypto-agile entry: in any order, each bank at most once. Returns the bytes they take, or
 * 0 with the fault set (a count of zero never gets here). */
static uint64_t read_digests(reader *r, uint64_t at, uint32_t count, pv_event *e, uint32_t *present, int *set) {
  if (e->type != EV_NO_ACTION && read_digests_in_order(r, at, count, e)) {
    *present = r->row->banks;
    return r->digests_size;
  }
  uint64_t digests_at = at + 12, here = digests_at;
  uint32_t seen = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t left = r->size - here;
    if (left < 2) {
      return fault(r, PV_FAULT_TRUNCATED, at);
    }
    uint32_t id = le16(r->bytes + here), k = i;
    if (r->algorithms[k].id != id) { /* usually in the header's order */
      for (k = 0; k < r->n_algorithms && r->algorithms[k].id != id; k++) {
      }
    }
    if (k == r->n_algorithms || seen >> k & 1) {
      return fault(r, PV_FAULT_DIGESTS, here);
    }
    seen |= 1u << k;
    const algorithm *a = &r->algorithms[k];
    if (left - 2 < a->size) {
      return fault(r, PV_FAULT_TRUNCATED, at);
    }
    if (a->bank >= 0) {
      e->digest_at[a->bank] = (uint32_t)here + 2;
      *present |= 1u << a->bank;
    }
    *set |= e->type == EV_NO_ACTION && !is_zero(r->bytes + here + 2, a->size);
    here += 2 + a->size;
  }
  return here - digests_at;
}

/* Reads one crypto-agile entry. Returns its size, or 0 with the fault set. */
static uint64_t read_agile(reader *r, uint64_t at, pv_event *e, uint32_t *present, int *set) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (!check_pcr(r, at)) {
    return 0;
  }
  if (left < 12) {
    return fault(r, PV_FAULT_TRUNCATED, at);
  }
  e->pcr = le32(p);
  e->type = le32(p + 4);
  uint32_t count = le32(p + 8);
  if (count > r->n_algorithms) {
    return fault(r, PV_FAULT_DIGESTS, at + 8);
  }
  for (unsigned b = 0; b < PV_BANKS; b++) {
    e->digest_at[b] = PV_NO_DIGEST;
  }
  uint64_t digests = count ? read_digests(r, at, count, e, present, set) : 0;
  if (r->row->fault) {
    return 0;
  }
  left -= 12 + digests;
  if (left < 4) {
    return fault(r, PV_FAULT_TRUNCATED, at);
  }
  uint64_t size_at = at + 12 + digests;
  e->data_size = le32(r->bytes + size_at);
  if (!check_data_size(r, e->data_size, left - 4, size_at, at)) {
    return 0;
  }
  e->at = (uint32_t)at;
  e->data_at = (uint32_t)size_at + 4;
  return 16 + digests + e->data_size;
}

/* The Spec ID event's data (SPEC 2.2), which follows a header in the SHA-1 form. Returns 0 with the fault set. */
static uint64_t read_spec_id(reader *r, const pv_event *e) {
  const uint8_t *p = r->bytes + e->data_at;
  uint64_t at = e->data_at, size = e->data_size;
  if (e->pcr == 1) {
    r->row->format = 0;
    return fault(r, PV_FAULT_NOT_A_LOG, 0); /* a confidential-computing log: its indices are not PCRs (SPEC 2.5) */
  }
  if (e->pcr != 0) {
    return fault(r, PV_FAULT_HEADER, e->at);
  }
  if (!is_zero(r->bytes + e->at + 8, 20)) {
    return fault(r, PV_FAULT_HEADER, e->at + 8);
  }
  if (size < 29) {
    return fault(r, PV_FAULT_HEADER, e->at + 28);
  }
  if (p[21] != 2 || p[20] != 0) { /* minor stands before major */
    return fault(r, PV_FAULT_HEADER, at + 20);
  }
  uint64_t n = le32(p + 24);
  if (n == 0 || n > MAX_ALGORITHMS) {
    return fault(r, PV_FAULT_ALGORITHMS, at + 24);
  }
  if (size < 29 + 4 * n) {
    return fault(r, PV_FAULT_ALGORITHMS, at + 24);
  }
  for (uint32_t i = 0; i < n; i++) {
    uint64_t entry = 28 + 4 * (uint64_t)i;
    algorithm a = {le16(p + entry), le16(p + entry + 2), -1};
    for (int b = 0; b < PV_BANKS; b++) {
      a.bank = banks[b].id == a.id ? b : a.bank;
    }
    if (a.size == 0 || a.size > MAX_DIGEST || (a.bank >= 0 && banks[a.bank].size != a.size)) {
      return fault(r, PV_FAULT_ALGORITHMS, at + entry + 2);
    }
    for (uint32_t k = 0; k < i; k++) {
      if (r->algorithms[k].id == a.id) {
        return fault(r, PV_FAULT_ALGORITHMS, at + entry);
      }
    }
    if (a.bank >= 0) {
      r->row->banks |= 1u << a.bank;
    } else {
      r->row->notes |= PV_NOTE_UNKNOWN_ALGORITHM;
    }
    r->algorithms[i] = a;
    r->digests_size += 2 + a.size;
  }
  r->n_algorithms = (uint32_t)n;
  if (size != 29 + 4 * n + p[28 + 4 * n]) {
    return fault(r, PV_FAULT_HEADER, at + 28 + 4 * n); /* vendorInfoSize does not reach the end of the event */
  }
  return 1;
}

/* A Canonical Event Log begins like an entry for PCR 0: TLV recnum (type 0, 1-8 bytes), then pcr or nv_index (1, 2)
 * of 1-8 bytes, lengths big-endian (SPEC 9.1). */
static int looks_like_cel(const uint8_t *p, uint64_t size) {
  if (size < 6 || p[0] != 0 || pv_be32(p + 1) < 1 || pv_be32(p + 1) > 8) {
    return 0;
  }
  uint64_t next = 5 + pv_be32(p + 1);
  return size >= next + 5 && (p[next] == 1 || p[next] == 2) && pv_be32(p + next + 1) >= 1 &&
         pv_be32(p + next + 1) <= 8;
}

/* The first entry decides the form; it is always an entry in the SHA-1 form. Returns its size, or 0 with the fault
 * set. */
static uint64_t read_first(reader *r, pv_event *e) {
  if (looks_like_cel(r->bytes, r->size)) {
    return fault(r, PV_FAULT_NOT_A_LOG, 0);
  }
  r->row->format = PV_FORMAT_TCG1;
  if (read_padding(r, 0)) {
    memset(r->row, 0, sizeof *r->row);
    return fault(r, PV_FAULT_NOT_A_LOG, 0); /* an empty log area */
  }
  uint64_t used = read_legacy(r, 0, e);
  if (!used) {
    if (r->row->fault == PV_FAULT_PCR_INDEX) {
      r->row->format = 0;
      return fault(r, PV_FAULT_NOT_A_LOG, 0);
    }
    return 0;
  }
  if (has_signature(r->bytes + e->data_at, e->data_size, "Spec ID Event03")) {
    r->row->format = PV_FORMAT_TCG2;
    if (e->type != EV_NO_ACTION) {
      return fault(r, PV_FAULT_HEADER, 4);
    }
    e->digest_at[0] = PV_NO_DIGEST; /* the header has no digests of its own */
    if (!read_spec_id(r, e)) {
      r->row->banks = 0;
      return 0;
    }
    return used;
  }
  r->row->banks = 1;
  return used;
}

/* Reads one log. Returns PV_NO_ROOM where the events do not fit, else PV_OK, whatever the log holds. */
static int read_log(reader *r) {
  uint64_t at = 0;
  memset(r->row, 0, sizeof *r->row);
  if (r->size > PV_MAX_LOG_SIZE) {
    fault(r, PV_FAULT_TOO_LARGE, PV_MAX_LOG_SIZE);
    return PV_OK;
  }
  while (at < r->size) {
    pv_event *e = &r->events[r->row->n_events];
    for (uint64_t ahead = AHEAD; ahead < AHEAD + 256 && r->size - at > AHEAD + 256; ahead += 64) {
      __builtin_prefetch(r->bytes + at + ahead);
    }
    uint32_t present = 1;
    int set = 0;
    uint64_t used;
    if (at && (r->bytes[at] == 0 || r->bytes[at] == 0xFF) && read_padding(r, at)) {
      break;
    }
    if (r->row->n_events == PV_MAX_EVENTS) {
      fault(r, PV_FAULT_TOO_LARGE, at);
      break;
    }
    if (r->row->n_events == r->capacity) {
      return PV_NO_ROOM;
    }
    if (at == 0) {
      used = read_first(r, e);
    } else if (r->row->format == PV_FORMAT_TCG1) {
      used = read_legacy(r, at, e);
    } else {
      present = 0;
      used = read_agile(r, at, e, &present, &set);
    }
    if (!used) {
      break;
    }
    if (r->row->format == PV_FORMAT_TCG1) {
      set = e->type == EV_NO_ACTION && !is_zero(r->bytes + at + 8, 20);
    }
    note_event(r, e, present, set);
    r->row->n_events++;
    at += used;
  }
  if (r->locality_seen && (r->row->locality == 4) != r->hcrtm_seen) {
    r->row->notes |= PV_NOTE_START_CONTRADICTION;
  }
  return PV_OK;
}

/* Events that a log of this size can hold at most. */
static uint64_t log_capacity(uint64_t size) {
  uint64_t n = size / MIN_AGILE_ENTRY + 1;
  return n < PV_MAX_EVENTS ? n : PV_MAX_EVENTS;
}

uint64_t pv_scan_capacity(const int64_t *offsets, uint64_t first, uint64_t last) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    n += log_capacity((uint64_t)(offsets[i + 1] - offsets[i]));
  }
  return n;
}

int pv_offsets_are_sane(const int64_t *offsets, uint64_t first, uint64_t last) {
  if (first > last || offsets[first] < 0) {
    return 0;
  }
  for (uint64_t i = first; i < last; i++) {
    if (offsets[i + 1] < offsets[i]) {
      return 0;
    }
  }
  return 1;
}

int pv_scan_distinct(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t block,
                     const uint32_t *same_as, pv_log *logs, pv_event *events, uint64_t capacity, uint64_t *n_events) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    uint64_t size = same_as && same_as[i - block] != i - block ? 0 : (uint64_t)(offsets[i + 1] - offsets[i]);
    reader r = {.bytes = blob + offsets[i], .size = size, .row = &logs[i], .events = events + n, .capacity = capacity - n};
    int status = read_log(&r);
    if (status != PV_OK) {
      return status;
    }
    logs[i].first_event = n;
    n += logs[i].n_events;
  }
  *n_events = n;
  return PV_OK;
}

int pv_scan(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  return pv_scan_distinct(blob, offsets, first, last, first, NULL, logs, events, capacity, n_events);
}
