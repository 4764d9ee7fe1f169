/* PCR values that come beside a quote, as tpm2_quote writes them (tpm2-tools, lib/pcr.c):
 *   "serialized"  TPML_PCR_SELECTION and a count of TPML_DIGESTs, each with its full room, as they lie in memory of a
 *                 little-endian machine: 132 bytes, u32, and 532 bytes each
 *   "values"      the digests one after the other
 * Neither is signed. Which bank and PCR a value belongs to is taken from the signed selections alone (CVE-2024-29039). */
#include "eventlog.h"
#include "quote.h"
#include "reader.h"

enum {
  SELECTIONS_SIZE = 4 + 16 * 8,  /* u32 count; u16 hash, u8 size, 4 bytes, 1 byte of padding, 16 times */
  DIGESTS_SIZE = 4 + 8 * 66,     /* u32 count; u16 size and 64 bytes, 8 times */
  DIGEST_SIZE = 66,
  DIGESTS_OF_A_LIST = 8,
  MAX_LISTS = 512,               /* 16 banks of 32 PCRs, should a TPM give them one by one */
};

typedef struct {
  const uint8_t *bytes;
  uint64_t size;
  int serialized;
  uint64_t list, in_list, at; /* serialized: the list and the digest in it; values: the next byte */
} pv_value_file;

static uint64_t lists_of(const pv_value_file *f) { return pv_le32(f->bytes + SELECTIONS_SIZE); }

static int is_serialized(const pv_value_file *f) {
  if (f->size < SELECTIONS_SIZE + 4) {
    return 0;
  }
  uint64_t n = lists_of(f), rest = f->size - SELECTIONS_SIZE - 4;
  if (n > MAX_LISTS || rest != n * DIGESTS_SIZE) {
    return 0;
  }
  for (uint64_t i = 0; i < n; i++) {
    if (pv_le32(f->bytes + SELECTIONS_SIZE + 4 + i * DIGESTS_SIZE) > DIGESTS_OF_A_LIST) {
      return 0;
    }
  }
  return 1;
}

/* The next digest, which must have this size; NULL where there is none such. */
static const uint8_t *next_value(pv_value_file *f, uint32_t size) {
  if (!f->serialized) {
    if (f->size - f->at < size) {
      return NULL;
    }
    f->at += size;
    return f->bytes + f->at - size;
  }
  for (; f->list < lists_of(f); f->list++, f->in_list = 0) {
    const uint8_t *list = f->bytes + SELECTIONS_SIZE + 4 + f->list * DIGESTS_SIZE;
    if (f->in_list < pv_le32(list)) {
      const uint8_t *digest = list + 4 + DIGEST_SIZE * f->in_list++;
      return pv_le16(digest) == size ? digest + 2 : NULL;
    }
  }
  return NULL;
}

static int is_used_up(pv_value_file *f) {
  if (!f->serialized) {
    return f->at == f->size;
  }
  while (f->list < lists_of(f) && f->in_list == pv_le32(f->bytes + SELECTIONS_SIZE + 4 + f->list * DIGESTS_SIZE)) {
    f->list++, f->in_list = 0;
  }
  return f->list == lists_of(f);
}

/* Lays the values out for one row: bank by bank in the order of the selection, PCRs upward. */
static int lay_out(pv_value_file *f, const pv_attest *attest, uint8_t *const *values, uint64_t row) {
  for (uint32_t i = 0; i < attest->n_selections && i < PV_MAX_SELECTIONS; i++) {
    int32_t bank = attest->bank[i];
    if (attest->mask[i] == 0) {
      continue;
    }
    if (bank < 0 || bank >= PV_BANKS || attest->mask[i] >> PV_PCRS) {
      return 0;
    }
    uint32_t size = pv_digest_size((uint32_t)bank);
    for (uint32_t pcr = 0; pcr < PV_PCRS; pcr++) {
      if (attest->mask[i] >> pcr & 1) {
        const uint8_t *value = next_value(f, size);
        if (!value) {
          return 0;
        }
        memcpy(values[bank] + (row * PV_PCRS + pcr) * size, value, size);
      }
    }
  }
  return is_used_up(f);
}

int pv_values_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last,
                     const pv_attest *attests, uint8_t *sha1, uint8_t *sha256, uint8_t *sha384, uint8_t *sha512,
                     uint8_t *sm3_256, uint8_t *laid_out) {
  uint8_t *const values[PV_BANKS] = {sha1, sha256, sha384, sha512, sm3_256};
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    pv_value_file f = {blob + offsets[i], (uint64_t)(offsets[i + 1] - offsets[i]), 0, 0, 0, 0};
    for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
      memset(values[bank] + i * PV_PCRS * pv_digest_size(bank), 0, (size_t)PV_PCRS * pv_digest_size(bank));
    }
    f.serialized = is_serialized(&f);
    laid_out[i] = !attests[i].fault && !attests[i].empty && lay_out(&f, &attests[i], values, i);
    for (uint32_t bank = 0; bank < PV_BANKS && !laid_out[i]; bank++) {
      memset(values[bank] + i * PV_PCRS * pv_digest_size(bank), 0, (size_t)PV_PCRS * pv_digest_size(bank));
    }
  }
  return PV_OK;
}
