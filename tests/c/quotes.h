/* What must hold of the readers of quotes whatever the bytes are. Every buffer is an allocation of its own, so that the
 * sanitizers see any step past its end. `must` is the caller's. */
#ifndef PV_QUOTES_TEST_H
#define PV_QUOTES_TEST_H

#include <stdlib.h>
#include <string.h>

#include "believer.h"
#include "logs.h"

static int inside(uint32_t at, uint32_t size, uint64_t whole) { return at <= whole && size <= whole - at; }

static void check_fault(uint32_t fault, uint32_t fault_at, uint64_t size) {
  must(fault <= PV_QUOTE_SCHEME && (fault == PV_QUOTE_NONE) == (pv_quote_fault_code(fault) == NULL));
  must(fault_at <= size);
}

static pv_attest check_attest(bytes item) {
  int64_t offsets[] = {0, (int64_t)item.size};
  pv_attest row;
  must(pv_attest_decode(item.bytes, offsets, 0, 1, &row) == PV_OK);
  check_fault(row.fault, row.fault_at, item.size);
  must(inside(row.signer_at, row.signer_size, item.size) && inside(row.nonce_at, row.nonce_size, item.size));
  must(inside(row.digest_at, row.digest_size, item.size) && row.n_selections <= PV_MAX_SELECTIONS);
  must(row.nonce_size <= 66 && row.signer_size <= 66 && row.digest_size <= 64 && row.safe <= 1);
  uint32_t any = 0;
  for (uint32_t i = 0; i < row.n_selections; i++) {
    must(row.bank[i] >= PV_NO_BANK && row.bank[i] < PV_BANKS);
    must(row.bank[i] == PV_NO_BANK || row.selected[row.bank[i]] == row.mask[i]);
    any |= row.mask[i];
  }
  must(row.fault ? !row.n_selections : row.empty == (any == 0));
  must(row.fault || row.digest_at + row.digest_size == item.size);
  return row;
}

static pv_signature check_signature(bytes item) {
  int64_t offsets[] = {0, (int64_t)item.size};
  pv_signature row;
  must(pv_signature_decode(item.bytes, offsets, 0, 1, &row) == PV_OK);
  check_fault(row.fault, row.fault_at, item.size);
  must(inside(row.r_at, row.r_size, item.size) && inside(row.s_at, row.s_size, item.size));
  must(row.r_size <= 512 && row.s_size <= 66);
  must(row.fault || (row.r_size && (row.s_size || row.form != PV_SIGNATURE_DER)));
  return row;
}

static pv_public check_public(bytes item) {
  int64_t offsets[] = {0, (int64_t)item.size};
  pv_public row;
  must(pv_public_decode(item.bytes, offsets, 0, 1, &row) == PV_OK);
  check_fault(row.fault, row.fault_at, item.size);
  must(inside(row.x_at, row.x_size, item.size) && inside(row.y_at, row.y_size, item.size));
  must(row.fault || row.x_size);
  must(row.symmetric != 0x10 || !(row.symmetric_bits | row.symmetric_mode)); /* TPM_ALG_NULL has neither */
  return row;
}

static void check_values(bytes item, const pv_attest *attest) {
  int64_t offsets[] = {0, (int64_t)item.size};
  uint8_t *values[PV_BANKS], laid_out;
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    values[bank] = malloc((size_t)PV_PCRS * pv_digest_size(bank));
  }
  must(pv_values_decode(item.bytes, offsets, 0, 1, attest, values[0], values[1], values[2], values[3], values[4],
                        &laid_out) == PV_OK);
  must(laid_out <= 1 && !(laid_out && (attest->fault || attest->empty)));
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    for (uint32_t i = 0; i < PV_PCRS * pv_digest_size(bank); i++) {
      uint32_t pcr = i / pv_digest_size(bank);
      must(values[bank][i] == 0 || (laid_out && attest->selected[bank] >> pcr & 1));
    }
    free(values[bank]);
  }
}

static void check_verify(bytes signature, bytes key) {
  int64_t signature_offsets[] = {0, (int64_t)signature.size}, key_offsets[] = {0, (int64_t)key.size};
  pv_signature g = check_signature(signature);
  pv_public k = check_public(key);
  static const uint32_t schemes[] = {0x14, 0x16, 0x18, 0x1B, 0};
  uint8_t *digest = calloc(1, 64), result = 99;
  uint64_t order = 0;
  uint32_t zero = 0;
  for (unsigned i = 0; i < 5; i++) {
    for (uint32_t hash = 0; hash < PV_BANKS; hash++) {
      pv_signed rows = {signature.bytes, signature_offsets, &g, key.bytes, key_offsets, &k, &zero, &schemes[i], &hash,
                        digest, 1, 1};
      must(pv_verify_signatures(&believer, &rows, &order, 0, 1, &result) == PV_OK);
      must(result <= PV_SIGNATURE_UNUSABLE && !((g.fault || k.fault) && result == PV_SIGNATURE_GOOD));
    }
  }
  free(digest);
}

#endif
