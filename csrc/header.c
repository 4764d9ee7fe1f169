/* The first entry of a TCG event log: which form it is in, and in the crypto-agile form which banks (SPEC 2.1, 2.2). */
#include "hash.h"
#include "reader.h"

enum { MAX_DIGEST = 64 };

/* TPM_ALG_ID of each bank, in the order of api.h (TCG Algorithm Registry). */
static const uint32_t bank_ids[PV_BANKS] = {0x0004, 0x000B, 0x000C, 0x000D, 0x0012};

/* The Spec ID event's data (SPEC 2.2), which follows a header in the SHA-1 form. Returns 0 with the fault set. */
static uint64_t read_spec_id(pv_reader *r, const pv_event *e) {
  const uint8_t *p = r->bytes + e->data_at;
  uint64_t at = e->data_at, size = e->data_size;
  if (e->pcr == 1) {
    r->row->format = 0;
    return pv_fault(r, PV_FAULT_NOT_A_LOG, 0); /* a confidential-computing log: its indices are not PCRs (SPEC 2.5) */
  }
  if (e->pcr != 0) {
    return pv_fault(r, PV_FAULT_HEADER, e->at);
  }
  if (!pv_is_zero(r->bytes + e->at + 8, 20)) {
    return pv_fault(r, PV_FAULT_HEADER, e->at + 8);
  }
  if (size < 29) {
    return pv_fault(r, PV_FAULT_HEADER, e->at + 28);
  }
  if (p[21] != 2 || p[20] != 0) { /* minor stands before major */
    return pv_fault(r, PV_FAULT_HEADER, at + 20);
  }
  uint64_t n = pv_le32(p + 24);
  if (n == 0 || n > MAX_ALGORITHMS) {
    return pv_fault(r, PV_FAULT_ALGORITHMS, at + 24);
  }
  if (size < 29 + 4 * n) {
    return pv_fault(r, PV_FAULT_ALGORITHMS, at + 24);
  }
  for (uint32_t i = 0; i < n; i++) {
    uint64_t entry = 28 + 4 * (uint64_t)i;
    pv_algorithm a = {pv_le16(p + entry), pv_le16(p + entry + 2), -1};
    for (int b = 0; b < PV_BANKS; b++) {
      a.bank = bank_ids[b] == a.id ? b : a.bank;
    }
    if (a.size == 0 || a.size > MAX_DIGEST || (a.bank >= 0 && pv_digest_size((uint32_t)a.bank) != a.size)) {
      return pv_fault(r, PV_FAULT_ALGORITHMS, at + entry + 2);
    }
    for (uint32_t k = 0; k < i; k++) {
      if (r->algorithms[k].id == a.id) {
        return pv_fault(r, PV_FAULT_ALGORITHMS, at + entry);
      }
    }
    if (a.bank >= 0) {
      r->row->banks |= 1u << a.bank;
    } else {
      r->row->notes |= PV_NOTE_UNKNOWN_ALGORITHM;
    }
    r->algorithms[i] = a;
  }
  r->n_algorithms = (uint32_t)n;
  if (size != 29 + 4 * n + p[28 + 4 * n]) {
    return pv_fault(r, PV_FAULT_HEADER, at + 28 + 4 * n); /* vendorInfoSize does not reach the end of the event */
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
uint64_t pv_read_first(pv_reader *r, pv_event *e) {
  if (looks_like_cel(r->bytes, r->size)) {
    return pv_fault(r, PV_FAULT_NOT_A_LOG, 0);
  }
  r->row->format = PV_FORMAT_TCG1;
  if (pv_read_padding(r, 0)) {
    memset(r->row, 0, sizeof *r->row);
    return pv_fault(r, PV_FAULT_NOT_A_LOG, 0); /* an empty log area */
  }
  uint64_t used = pv_read_legacy(r, 0, e);
  if (!used) {
    if (r->row->fault == PV_FAULT_PCR_INDEX) {
      r->row->format = 0;
      return pv_fault(r, PV_FAULT_NOT_A_LOG, 0);
    }
    return 0;
  }
  if (pv_has_signature(r->bytes + e->data_at, e->data_size, "Spec ID Event03")) {
    r->row->format = PV_FORMAT_TCG2;
    if (e->type != EV_NO_ACTION) {
      return pv_fault(r, PV_FAULT_HEADER, 4);
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
