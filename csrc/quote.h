/* What the readers of quotes, signatures and public areas share: a cursor over big-endian fields that stops at the first
 * fault. Every size is untrusted: it is compared with what is left, never added. */
#ifndef PV_QUOTE_H
#define PV_QUOTE_H

#include "hash.h"
#include "pyverify.h"

/* TPM_ALG_ID and TPM_ECC_CURVE (TCG Algorithm Registry; SPEC 1.1). */
enum {
  ALG_RSA = 0x0001,
  ALG_KEYEDHASH = 0x0008,
  ALG_NULL = 0x0010,
  ALG_RSASSA = 0x0014,
  ALG_RSAES = 0x0015,
  ALG_RSAPSS = 0x0016,
  ALG_OAEP = 0x0017,
  ALG_ECDSA = 0x0018,
  ALG_ECDH = 0x0019,
  ALG_ECDAA = 0x001A,
  ALG_SM2 = 0x001B,
  ALG_ECSCHNORR = 0x001C,
  ALG_ECMQV = 0x001D,
  ALG_ECC = 0x0023,
  ALG_SYMCIPHER = 0x0025,
  CURVE_P256 = 0x0003,
  CURVE_P384 = 0x0004,
  CURVE_P521 = 0x0005,
  CURVE_SM2 = 0x0020,
};

enum {
  MAX_QUOTE_ITEM = 65536, /* the largest of these structures is below 1,200 bytes */
  MAX_RSA_BYTES = 512,    /* 4096 bits, TPM2_MAX_RSA_KEY_BYTES of the TSS */
  MAX_ECC_BYTES = 128,    /* TPM2_MAX_ECC_KEY_BYTES of the TSS */
  MAX_FIELD_BYTES = 66,   /* P-521, the widest curve that is verified here */
};

typedef struct {
  const uint8_t *bytes;
  uint64_t size, at;
  uint32_t fault, fault_at;
} pv_cursor;

static inline pv_cursor pv_cursor_at(const uint8_t *blob, const int64_t *offsets, uint64_t i) {
  pv_cursor c = {blob + offsets[i], (uint64_t)(offsets[i + 1] - offsets[i]), 0, PV_QUOTE_NONE, 0};
  if (c.size > MAX_QUOTE_ITEM) {
    c.fault = PV_QUOTE_BOUND;
  }
  return c;
}

/* Marks the item as bad, once: the first fault is the one that counts. Returns 0. */
static inline int pv_stop(pv_cursor *c, enum pv_quote_fault fault, uint64_t at) {
  if (!c->fault) {
    c->fault = fault;
    c->fault_at = (uint32_t)at;
  }
  return 0;
}

/* Whether `n` more bytes are there; a fault if not. */
static inline int pv_has(pv_cursor *c, uint64_t n) {
  if (c->fault) {
    return 0;
  }
  return c->size - c->at >= n ? 1 : pv_stop(c, PV_QUOTE_TRUNCATED, c->at);
}

/* The next big-endian number of `n` bytes; 0 after a fault. */
static inline uint64_t pv_number(pv_cursor *c, unsigned n) {
  uint64_t value = 0;
  if (!pv_has(c, n)) {
    return 0;
  }
  while (n--) {
    value = value << 8 | c->bytes[c->at++];
  }
  return value;
}

static inline uint32_t pv_u16(pv_cursor *c) { return (uint32_t)pv_number(c, 2); }
static inline uint32_t pv_u32(pv_cursor *c) { return (uint32_t)pv_number(c, 4); }

/* A TPM2B: u16 size, at most `max`, and so many bytes. Its place goes to *at and *size. */
static inline void pv_sized(pv_cursor *c, uint32_t max, uint32_t *at, uint32_t *size) {
  uint64_t size_at = c->at;
  uint32_t n = pv_u16(c);
  if (n > max) {
    pv_stop(c, PV_QUOTE_BOUND, size_at);
  } else if (pv_has(c, n)) {
    *at = (uint32_t)c->at;
    *size = n;
    c->at += n;
  }
}

/* The item must end here. */
static inline void pv_end(pv_cursor *c) {
  if (!c->fault && c->at != c->size) {
    pv_stop(c, PV_QUOTE_TRAILING, c->at);
  }
}

/* The bank of a TPM_ALG_ID, PV_NO_BANK where it is none. */
int32_t pv_bank_of(uint32_t hash);

/* Bytes of a coordinate on this curve; 0 where the curve is not known here. */
uint32_t pv_field_size(uint32_t curve);

#endif
