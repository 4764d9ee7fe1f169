/* Entries of TCG event logs, SHA-1 form and crypto-agile form, and the padding after them (SPEC 2.1, 2.3, 2.4; TCG PC
 * Client Platform Firmware Profile). Every length is untrusted: it is widened to 64 bits and compared with what is
 * left, never added. */
#include "reader.h"

/* PCR numbers: 0-23. Records that are never extended may name an NV index (handle type 0x01, PFP 1.06) or, on
 * Windows, 0xFFFFFFFF (SPEC 0.1, 2.3). */
static uint64_t check_pcr(pv_reader *r, uint64_t at) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (left < 4 || pv_le32(p) < PV_PCRS) {
    return 1;
  }
  int never_a_pcr = pv_le32(p) == UINT32_MAX || pv_le32(p) >> 24 == 1;
  return never_a_pcr && (left < 8 || pv_le32(p + 4) == EV_NO_ACTION) ? 1 : pv_fault(r, PV_FAULT_PCR_INDEX, at);
}

/* At an entry boundary: the rest of the log area may be all 0xFF (EDK2) or all 0x00 (Linux's end mark), SPEC 2.4.
 * Fewer than 8 such bytes cannot be told from an entry that was cut. Returns 1 where the rest is no entry. */
int pv_read_padding(pv_reader *r, uint64_t at) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  uint64_t empty = r->row->format == PV_FORMAT_TCG1 ? LEGACY_HEADER : MIN_AGILE_ENTRY;
  uint8_t fill = p[0];
  if (left < 8 || pv_le32(p) != pv_le32(p + 4) || (pv_le32(p) != 0 && pv_le32(p) != UINT32_MAX)) {
    return 0;
  }
  if (fill == 0 && !pv_is_zero(p, left < empty ? left : empty)) {
    return 0; /* EV_PREBOOT_CERT in PCR 0, with digests or data */
  }
  for (uint64_t i = 8; i < left; i++) {
    if (p[i] != fill) {
      pv_fault(r, PV_FAULT_TRAILING, at + i);
      return 1;
    }
  }
  r->row->notes |= PV_NOTE_PADDING;
  r->row->padding = left;
  return 1;
}

/* The data of an event: `left` bytes follow its size field, which lies at `size_at`. */
static uint64_t check_data_size(pv_reader *r, uint64_t data_size, uint64_t left, uint64_t size_at, uint64_t entry_at) {
  if (data_size <= left) {
    return 1;
  }
  return data_size > PV_PLAUSIBLE_EVENT_SIZE ? pv_fault(r, PV_FAULT_EVENT_SIZE, size_at)
                                             : pv_fault(r, PV_FAULT_TRUNCATED, entry_at);
}

/* Reads one entry in the SHA-1 form. Returns its size, or 0 with the fault set. */
uint64_t pv_read_legacy(pv_reader *r, uint64_t at, pv_event *e) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (!check_pcr(r, at)) {
    return 0;
  }
  if (left < LEGACY_HEADER) {
    return pv_fault(r, PV_FAULT_TRUNCATED, at);
  }
  e->pcr = pv_le32(p);
  e->type = pv_le32(p + 4);
  e->data_size = pv_le32(p + 28);
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

/* Reads the digests of a crypto-agile entry: in any order, each bank at most once. Returns the bytes they take, or
 * 0 with the fault set (a count of zero never gets here). */
static uint64_t read_digests(pv_reader *r, uint64_t at, uint32_t count, pv_event *e, uint32_t *present, int *set) {
  uint64_t digests_at = at + 12, here = digests_at;
  uint32_t seen = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t left = r->size - here;
    if (left < 2) {
      return pv_fault(r, PV_FAULT_TRUNCATED, at);
    }
    uint32_t id = pv_le16(r->bytes + here), k = i;
    if (r->algorithms[k].id != id) { /* usually in the header's order */
      for (k = 0; k < r->n_algorithms && r->algorithms[k].id != id; k++) {
      }
    }
    if (k == r->n_algorithms || seen >> k & 1) {
      return pv_fault(r, PV_FAULT_DIGESTS, here);
    }
    seen |= 1u << k;
    const pv_algorithm *a = &r->algorithms[k];
    if (left - 2 < a->size) {
      return pv_fault(r, PV_FAULT_TRUNCATED, at);
    }
    if (a->bank >= 0) {
      e->digest_at[a->bank] = (uint32_t)here + 2;
      *present |= 1u << a->bank;
    }
    *set |= e->type == EV_NO_ACTION && !pv_is_zero(r->bytes + here + 2, a->size);
    here += 2 + a->size;
  }
  return here - digests_at;
}

/* Reads one crypto-agile entry. Returns its size, or 0 with the fault set. */
uint64_t pv_read_agile(pv_reader *r, uint64_t at, pv_event *e, uint32_t *present, int *set) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (!check_pcr(r, at)) {
    return 0;
  }
  if (left < 12) {
    return pv_fault(r, PV_FAULT_TRUNCATED, at);
  }
  e->pcr = pv_le32(p);
  e->type = pv_le32(p + 4);
  uint32_t count = pv_le32(p + 8);
  if (count > r->n_algorithms) {
    return pv_fault(r, PV_FAULT_DIGESTS, at + 8);
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
    return pv_fault(r, PV_FAULT_TRUNCATED, at);
  }
  uint64_t size_at = at + 12 + digests;
  e->data_size = pv_le32(r->bytes + size_at);
  if (!check_data_size(r, e->data_size, left - 4, size_at, at)) {
    return 0;
  }
  e->at = (uint32_t)at;
  e->data_at = (uint32_t)size_at + 4;
  return 16 + digests + e->data_size;
}

void pv_expect_usual(pv_reader *r) {
  uint32_t at = 12;
  for (unsigned b = 0; b < PV_BANKS; b++) {
    r->usual.absent[b] = PV_NO_DIGEST;
  }
  for (uint32_t i = 0; i < r->n_algorithms; i++) {
    const pv_algorithm *a = &r->algorithms[i];
    r->usual.id_at[i] = at;
    if (a->bank >= 0) {
      r->usual.digest_at[a->bank] = at + 2;
      r->usual.absent[a->bank] = 0;
    }
    at += 2 + a->size;
  }
  r->usual.size = at + 4;
}

/* One of them, all its lengths held against what is left. Returns its size, 0 where it is another entry. */
static inline uint64_t read_usual(const pv_reader *r, uint64_t at, pv_event *e) {
  const pv_usual *usual = &r->usual;
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at;
  if (left < usual->size) {
    return 0;
  }
  uint32_t pcr = pv_le32(p), type = pv_le32(p + 4), data_size = pv_le32(p + usual->size - 4);
  if (pcr >= PV_PCRS || type == EV_NO_ACTION || type == (uint32_t)EV_EFI_HCRTM_EVENT ||
      pv_le32(p + 8) != r->n_algorithms || data_size > left - usual->size) {
    return 0;
  }
  for (uint32_t i = 0; i < r->n_algorithms; i++) {
    if (pv_le16(p + usual->id_at[i]) != r->algorithms[i].id) {
      return 0;
    }
  }
  e->pcr = pcr;
  e->type = type;
  e->at = (uint32_t)at;
  e->data_at = (uint32_t)at + usual->size;
  e->data_size = data_size;
  for (unsigned b = 0; b < PV_BANKS; b++) {
    e->digest_at[b] = ((uint32_t)at + usual->digest_at[b]) | usual->absent[b];
  }
  return usual->size + (uint64_t)data_size;
}

uint64_t pv_read_usual(pv_reader *r, uint64_t at) {
  uint64_t room = r->capacity < PV_MAX_EVENTS ? r->capacity : PV_MAX_EVENTS, n = r->row->n_events, used;
  uint32_t touched = r->row->touched;
  for (; n < room; n++, at += used) {
    pv_look_ahead(r->bytes + at);
    used = read_usual(r, at, &r->events[n]);
    if (!used) {
      break;
    }
    touched |= 1u << r->events[n].pcr;
  }
  r->row->n_events = (uint32_t)n;
  r->row->touched = touched;
  return at;
}
