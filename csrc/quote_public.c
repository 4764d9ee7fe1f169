/* TPMT_PUBLIC of RSA and ECC keys, which sign quotes or open credentials (SPEC 8.4; TPM 2.0 Library part 2), bare or in
 * a TPM2B_PUBLIC. */
#include "eventlog.h"
#include "quote.h"

enum { MAX_POLICY = 64, DEFAULT_EXPONENT = 65537 };

uint32_t pv_field_size(uint32_t curve) {
  switch (curve) {
    case CURVE_P256:
    case CURVE_SM2: return 32;
    case CURVE_P384: return 48;
    case CURVE_P521: return 66;
    default: return 0;
  }
}

/* TPMT_SYM_DEF_OBJECT: an algorithm, and unless it is NULL, bits and mode. */
static void read_symmetric(pv_cursor *c, pv_public *row) {
  row->symmetric = pv_u16(c);
  if (row->symmetric != ALG_NULL) {
    row->symmetric_bits = pv_u16(c);
    row->symmetric_mode = pv_u16(c);
  }
}

/* TPMT_RSA_SCHEME and TPMT_ECC_SCHEME: the scheme and what it needs to be told. */
static void read_scheme(pv_cursor *c, pv_public *row) {
  uint64_t begin = c->at;
  int rsa = row->type == ALG_RSA;
  row->scheme = pv_u16(c);
  switch (row->scheme) {
    case ALG_NULL: return;
    case ALG_RSAES:
      if (!rsa) {
        break;
      }
      return;
    case ALG_RSASSA:
    case ALG_RSAPSS:
    case ALG_OAEP:
      if (!rsa) {
        break;
      }
      row->scheme_hash = pv_u16(c);
      return;
    case ALG_ECDSA:
    case ALG_SM2:
    case ALG_ECSCHNORR:
    case ALG_ECDH:
    case ALG_ECMQV:
    case ALG_ECDAA:
      if (rsa) {
        break;
      }
      row->scheme_hash = pv_u16(c);
      if (row->scheme == ALG_ECDAA) {
        pv_u16(c); /* count */
      }
      return;
    default: break;
  }
  pv_stop(c, PV_QUOTE_VALUE, begin);
}

static void read_rsa(pv_cursor *c, pv_public *row) {
  read_symmetric(c, row);
  read_scheme(c, row);
  row->bits = pv_u16(c);
  row->exponent = pv_u32(c);
  if (row->exponent == 0) {
    row->exponent = DEFAULT_EXPONENT;
  }
  uint64_t begin = c->at;
  pv_sized(c, MAX_RSA_BYTES, &row->x_at, &row->x_size);
  if (!c->fault && (row->x_size == 0 || row->x_size * 8 != row->bits || !(c->bytes[row->x_at] & 0x80))) {
    pv_stop(c, PV_QUOTE_VALUE, begin); /* a modulus of another length than it states */
  }
}

static void read_ecc(pv_cursor *c, pv_public *row) {
  read_symmetric(c, row);
  read_scheme(c, row);
  row->curve = pv_u16(c);
  if (pv_u16(c) != ALG_NULL) { /* TPMT_KDF_SCHEME */
    pv_u16(c);
  }
  uint32_t field = pv_field_size(row->curve), max = field ? field : MAX_ECC_BYTES;
  uint64_t begin = c->at;
  pv_sized(c, max, &row->x_at, &row->x_size);
  pv_sized(c, max, &row->y_at, &row->y_size);
  if (!c->fault && (row->x_size == 0 || row->y_size == 0)) {
    pv_stop(c, PV_QUOTE_BOUND, begin); /* a template, or the point at infinity */
  }
}

static void read_public(pv_cursor *c, pv_public *row) {
  /* Where the first number is the size of the rest it is a TPM2B: as a type, 1 to 0x25, it would leave no room for a
   * key. */
  uint32_t stated = pv_u16(c);
  if (stated != c->size - c->at) {
    c->at = 0;
  }
  row->at = (uint32_t)c->at;
  uint64_t begin = c->at;
  row->type = pv_u16(c);
  row->name_hash = pv_u16(c);
  row->attributes = pv_u32(c);
  uint32_t policy_at, policy_size;
  switch (c->fault ? ALG_RSA : row->type) {
    case ALG_RSA:
      pv_sized(c, MAX_POLICY, &policy_at, &policy_size);
      read_rsa(c, row);
      break;
    case ALG_ECC:
      pv_sized(c, MAX_POLICY, &policy_at, &policy_size);
      read_ecc(c, row);
      break;
    case ALG_KEYEDHASH:
    case ALG_SYMCIPHER: pv_stop(c, PV_QUOTE_SCHEME, begin); break;
    default: pv_stop(c, PV_QUOTE_VALUE, begin);
  }
  pv_end(c);
}

int pv_public_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_public *rows) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    pv_cursor c = pv_cursor_at(blob, offsets, i);
    memset(&rows[i], 0, sizeof rows[i]);
    read_public(&c, &rows[i]);
    rows[i].fault = c.fault;
    rows[i].fault_at = c.fault_at;
  }
  return PV_OK;
}
