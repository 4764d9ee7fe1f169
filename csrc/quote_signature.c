/* Signatures over quotes (SPEC 8.2): TPMT_SIGNATURE, and tpm2-tools' plain forms: the bytes of an RSA signature, a DER
 * SEQUENCE of r and s. */
#include "eventlog.h"
#include "quote.h"

enum { DER_INTEGER = 0x02, DER_SEQUENCE = 0x30 };

/* A DER length (X.690 8.1.3, 10.1), in its shortest form. No signature here needs more than two bytes of it. */
static uint32_t der_length(pv_cursor *c) {
  uint64_t begin = c->at;
  uint32_t n = (uint32_t)pv_number(c, 1);
  if (n == 0x81) {
    n = (uint32_t)pv_number(c, 1);
    if (!c->fault && n < 0x80) {
      pv_stop(c, PV_QUOTE_VALUE, begin);
    }
  } else if (n >= 0x80) {
    pv_stop(c, PV_QUOTE_BOUND, begin);
  }
  return n;
}

/* A positive INTEGER in its shortest form; its place goes to *at and *size without the byte that carries the sign. */
static void der_integer(pv_cursor *c, uint32_t *at, uint32_t *size) {
  uint64_t begin = c->at;
  if (pv_number(c, 1) != DER_INTEGER) {
    pv_stop(c, PV_QUOTE_VALUE, begin);
  }
  uint32_t n = der_length(c);
  if (!pv_has(c, n)) {
    return;
  }
  const uint8_t *p = c->bytes + c->at;
  int negative = n && p[0] & 0x80, padded = n > 1 && p[0] == 0 && !(p[1] & 0x80);
  if (n == 0 || negative || padded) {
    pv_stop(c, PV_QUOTE_VALUE, begin);
    return;
  }
  uint32_t sign = n > 1 && p[0] == 0;
  if (n - sign > MAX_FIELD_BYTES) {
    pv_stop(c, PV_QUOTE_BOUND, begin);
    return;
  }
  *at = (uint32_t)c->at + sign;
  *size = n - sign;
  c->at += n;
}

static void read_der(pv_cursor *c, pv_signature *row) {
  row->form = PV_SIGNATURE_DER;
  pv_number(c, 1);
  uint64_t length_at = c->at;
  uint32_t n = der_length(c);
  if (!c->fault && n != c->size - c->at) {
    pv_stop(c, n > c->size - c->at ? PV_QUOTE_TRUNCATED : PV_QUOTE_TRAILING, length_at);
  }
  der_integer(c, &row->r_at, &row->r_size);
  der_integer(c, &row->s_at, &row->s_size);
}

/* A part of a signature: not empty, not longer than any that is verified here. */
static void read_part(pv_cursor *c, uint32_t max, uint32_t *at, uint32_t *size) {
  uint64_t begin = c->at;
  pv_sized(c, max, at, size);
  if (!c->fault && *size == 0) {
    pv_stop(c, PV_QUOTE_BOUND, begin);
  }
}

static void read_tpmt(pv_cursor *c, pv_signature *row) {
  row->form = PV_SIGNATURE_TPMT;
  row->scheme = pv_u16(c);
  switch (row->scheme) {
    case ALG_RSASSA:
    case ALG_RSAPSS:
      row->hash = pv_u16(c);
      read_part(c, MAX_RSA_BYTES, &row->r_at, &row->r_size);
      return;
    case ALG_ECDSA:
    case ALG_SM2:
      row->hash = pv_u16(c);
      read_part(c, MAX_FIELD_BYTES, &row->r_at, &row->r_size);
      read_part(c, MAX_FIELD_BYTES, &row->s_at, &row->s_size);
      return;
    default: /* none, HMAC, ECDAA (anonymous), EC-Schnorr: nobody's quote is signed so; and what is no algorithm */
      pv_stop(c, PV_QUOTE_SCHEME, 0);
  }
}

/* RSA signatures are as long as their modulus, and a TPMT_SIGNATURE of that length is not: 128 to 512 bytes in it leave
 * no modulus, and no pair of r and s, that a TPM has. A TPMT_SIGNATURE begins with 0x00, a SEQUENCE with 0x30. */
static void read_signature(pv_cursor *c, pv_signature *row) {
  if (c->size == 128 || c->size == 256 || c->size == 384 || c->size == 512) {
    row->form = PV_SIGNATURE_RSA;
    row->r_size = (uint32_t)c->size;
    c->at = c->size;
  } else if (c->size && c->bytes[0] == DER_SEQUENCE) {
    read_der(c, row);
  } else {
    read_tpmt(c, row);
  }
  pv_end(c);
}

int pv_signature_decode(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last,
                        pv_signature *rows) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    pv_cursor c = pv_cursor_at(blob, offsets, i);
    memset(&rows[i], 0, sizeof rows[i]);
    read_signature(&c, &rows[i]);
    rows[i].fault = c.fault;
    rows[i].fault_at = c.fault_at;
  }
  return PV_OK;
}
