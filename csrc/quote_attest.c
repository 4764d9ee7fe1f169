/* TPMS_ATTEST of type QUOTE (SPEC 8.1; TPM 2.0 Library part 2), bare or in a TPM2B_ATTEST. What is accepted is exactly
 * what a TPM can have signed: every bound of the structure, and no byte after it. */
#include "eventlog.h"
#include "quote.h"

enum {
  TPM_GENERATED = 0xFF544347, /* the magic that a restricted key signs for nobody else */
  ST_ATTEST_QUOTE = 0x8018,
  MAX_NAME = 66,  /* nameAlg and the largest digest */
  MAX_DATA = 66,  /* TPM2B_DATA is as large as a TPMT_HA */
  MAX_DIGEST = 64,
};

int32_t pv_bank_of(uint32_t hash) {
  switch (hash) {
    case 0x0004: return 0;
    case 0x000B: return 1;
    case 0x000C: return 2;
    case 0x000D: return 3;
    case 0x0012: return 4;
    default: return PV_NO_BANK;
  }
}

static const char *const fault_codes[] = {
    NULL, "quote.type", "quote.format", "quote.format", "quote.format", "quote.format", "quote.scheme",
};

const char *pv_quote_fault_code(uint32_t fault) {
  return fault < sizeof fault_codes / sizeof *fault_codes ? fault_codes[fault] : NULL;
}

/* Which of the two forms it is: the magic decides, at offset 0 or behind a size that must fit; nothing else does. */
static void find_attest(pv_cursor *c, pv_attest *row) {
  int bare = c->size >= 4 && pv_be32(c->bytes) == TPM_GENERATED;
  int sized = !bare && c->size >= 6 && pv_be32(c->bytes + 2) == TPM_GENERATED;
  if (sized) {
    if (pv_u16(c) != c->size - 2) {
      pv_stop(c, PV_QUOTE_TRAILING, 0);
    }
  } else if (!bare) {
    pv_stop(c, c->size < 4 ? PV_QUOTE_TRUNCATED : PV_QUOTE_TYPE, 0);
  }
  row->at = (uint32_t)c->at;
  row->magic = pv_u32(c);
  row->type = pv_u16(c);
  if (!c->fault && row->type != ST_ATTEST_QUOTE) {
    pv_stop(c, PV_QUOTE_TYPE, c->at - 2);
  }
}

/* One TPMS_PCR_SELECTION. The same bank twice is legal to the TPM, but ambiguous to whoever reads it (SPEC 8.1). */
static void read_selection(pv_cursor *c, pv_attest *row, uint32_t i) {
  uint64_t begin = c->at;
  uint32_t hash = pv_u16(c);
  uint32_t bytes = (uint32_t)pv_number(c, 1), mask = 0;
  if (!c->fault && (bytes < 1 || bytes > 4)) {
    pv_stop(c, PV_QUOTE_BOUND, begin + 2);
  }
  if (!pv_has(c, bytes)) {
    return;
  }
  for (uint32_t b = 0; b < bytes; b++) {
    mask |= (uint32_t)c->bytes[c->at++] << 8 * b;
  }
  for (uint32_t k = 0; k < i; k++) {
    if (row->hash[k] == hash) {
      pv_stop(c, PV_QUOTE_VALUE, begin);
      return;
    }
  }
  row->hash[i] = hash;
  row->bank[i] = pv_bank_of(hash);
  row->mask[i] = mask;
  row->n_selections = i + 1;
  if (row->bank[i] != PV_NO_BANK) {
    row->selected[row->bank[i]] = mask;
  }
  row->empty &= mask == 0;
}

static void read_attest(pv_cursor *c, pv_attest *row) {
  find_attest(c, row);
  pv_sized(c, MAX_NAME, &row->signer_at, &row->signer_size);
  pv_sized(c, MAX_DATA, &row->nonce_at, &row->nonce_size);
  row->clock = pv_number(c, 8);
  row->reset_count = pv_u32(c);
  row->restart_count = pv_u32(c);
  row->safe = (uint32_t)pv_number(c, 1);
  if (row->safe > 1) {
    pv_stop(c, PV_QUOTE_VALUE, c->at - 1);
  }
  row->firmware_version = pv_number(c, 8);
  uint32_t n = pv_u32(c);
  if (n > PV_MAX_SELECTIONS) {
    pv_stop(c, PV_QUOTE_BOUND, c->at - 4);
  }
  row->empty = 1;
  for (uint32_t i = 0; i < n && !c->fault; i++) {
    read_selection(c, row, i);
  }
  pv_sized(c, MAX_DIGEST, &row->digest_at, &row->digest_size);
  pv_end(c);
}

int pv_attest_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_attest *rows) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    pv_cursor c = pv_cursor_at(blob, offsets, i);
    pv_attest row = {0};
    read_attest(&c, &row);
    if (c.fault) {
      row = (pv_attest){.fault = c.fault, .fault_at = c.fault_at, .at = row.at, .magic = row.magic, .type = row.type};
    }
    rows[i] = row;
  }
  return PV_OK;
}
