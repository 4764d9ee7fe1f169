/* Signatures over digests, many in one call, by the libcrypto whose functions the caller gives (SPEC 8.2, 8.3). The
 * ranges of r and s are checked here: libraries differ in it (SPEC 10.3, 73). */
#include "eventlog.h"
#include "quote_key.h"

enum {
  DIGEST_ROOM = 64,
  RSA_PKCS1_PADDING = 1,
  RSA_PKCS1_PSS_PADDING = 6,
  PSS_SALT_AUTO = -2, /* any length: TPMs differ in it (SPEC 8.2) */
  SM3 = 4,            /* its bank */
};

/* DigestInfo of SM3 up to the digest (RFC 8017 section 9.2; OID 1.2.156.10197.1.401): OpenSSL 3.0 has none. */
static const uint8_t sm3_info[18] = {0x30, 0x30, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x81, 0x1c,
                                     0xcf, 0x55, 0x01, 0x83, 0x11, 0x05, 0x00, 0x04, 0x20};

typedef struct {
  pv_key_builder builder;
  const pv_crypto *crypto;
  void *key, *context; /* of the last row; NULL where libcrypto refused it; the key is the builder's */
  uint32_t number, scheme, hash;
  int any; /* a key was asked for before */
} verifier;

static void forget_context(verifier *v) {
  if (v->context) {
    v->crypto->pkey_ctx_free(v->context);
  }
  v->context = NULL;
}

/* Makes the context ready for a key, scheme and hash. Returns 0 where libcrypto cannot. */
static int prepare(verifier *v, const pv_signed *rows, uint64_t i) {
  const pv_crypto *f = v->crypto;
  uint32_t number = rows->key[i], scheme = rows->scheme[i], hash = rows->hash[i];
  if (v->any && v->number == number && v->scheme == scheme && v->hash == hash) {
    return v->context != NULL;
  }
  forget_context(v);
  if (!v->any || v->number != number) {
    v->key = pv_build_key(&v->builder, rows->key_blob + rows->key_offsets[number], &rows->keys[number]);
  }
  v->any = 1;
  v->number = number, v->scheme = scheme, v->hash = hash;
  v->context = v->key ? f->pkey_ctx_new_from_pkey(NULL, v->key, NULL) : NULL;
  int ready = v->context && f->pkey_verify_init(v->context) == 1;
  if (ready && scheme == ALG_RSASSA) {
    ready = f->pkey_ctx_set_rsa_padding(v->context, RSA_PKCS1_PADDING) == 1 &&
            (hash == SM3 || f->pkey_ctx_set_signature_md(v->context, f->hashes[hash]) == 1);
  } else if (ready && scheme == ALG_RSAPSS) {
    ready = f->hashes[hash] && f->pkey_ctx_set_rsa_padding(v->context, RSA_PKCS1_PSS_PADDING) == 1 &&
            f->pkey_ctx_set_signature_md(v->context, f->hashes[hash]) == 1 &&
            f->pkey_ctx_set_rsa_pss_saltlen(v->context, PSS_SALT_AUTO) == 1;
  }
  if (!ready) {
    forget_context(v);
  }
  return ready;
}

/* Lays a component out over the whole width of the field. Returns whether it is in [1, n). */
static int in_range(const uint8_t *part, uint32_t size, const uint8_t *n, uint32_t field, uint8_t *out) {
  memset(out, 0, MAX_FIELD_BYTES);
  if (size == 0 || size > field) {
    return 0;
  }
  memcpy(out + field - size, part, size);
  uint8_t set = 0;
  for (uint32_t i = 0; i < field; i++) {
    set |= out[i];
  }
  return set != 0 && memcmp(out, n, field) < 0;
}

/* Whether r + s is n, which SM2 refuses (t = 0). */
static int adds_up_to(const uint8_t *r, const uint8_t *s, const uint8_t *n, uint32_t field) {
  unsigned carry = 0;
  uint8_t differ = 0;
  for (uint32_t i = field; i-- > 0;) {
    carry += (unsigned)r[i] + s[i];
    differ |= (uint8_t)carry ^ n[i];
    carry >>= 8;
  }
  return !differ && !carry;
}

/* INTEGER in DER; returns its size. */
static size_t put_integer(uint8_t *out, const uint8_t *value, uint32_t size) {
  while (size > 1 && *value == 0) {
    value++, size--;
  }
  uint32_t sign = *value >> 7;
  out[0] = 0x02;
  out[1] = (uint8_t)(size + sign);
  out[2] = 0;
  memcpy(out + 2 + sign, value, size);
  return 2 + (size_t)sign + size;
}

static enum pv_signature_result answer(verifier *v, const uint8_t *signature, size_t size, const uint8_t *digest,
                                       size_t digest_size) {
  return v->crypto->pkey_verify(v->context, signature, size, digest, digest_size) == 1 ? PV_SIGNATURE_GOOD
                                                                                        : PV_SIGNATURE_BAD;
}

static enum pv_signature_result verify_pair(verifier *v, const pv_signed *rows, uint64_t i, const uint8_t *bytes) {
  const pv_signature *g = &rows->signatures[i];
  const pv_public *key = &rows->keys[rows->key[i]];
  const uint8_t *n = pv_curve_order(key->curve);
  uint32_t field = pv_field_size(key->curve);
  uint8_t r[MAX_FIELD_BYTES], s[MAX_FIELD_BYTES], body[2 * (MAX_FIELD_BYTES + 3)], der[sizeof body + 3];
  if (key->type != ALG_ECC || !n || (rows->scheme[i] == ALG_SM2) != (key->curve == CURVE_SM2) ||
      (rows->scheme[i] == ALG_SM2 && pv_digest_size(rows->hash[i]) != 32)) {
    return PV_SIGNATURE_UNUSABLE;
  }
  if (!in_range(bytes + g->r_at, g->r_size, n, field, r) || !in_range(bytes + g->s_at, g->s_size, n, field, s) ||
      (rows->scheme[i] == ALG_SM2 && adds_up_to(r, s, n, field))) {
    return PV_SIGNATURE_RANGE;
  }
  size_t size = put_integer(body, r, field);
  size += put_integer(body + size, s, field);
  size_t head = size < 0x80 ? 2 : 3;
  der[0] = 0x30;
  der[1] = 0x81;
  der[head - 1] = (uint8_t)size;
  memcpy(der + head, body, size);
  if (!prepare(v, rows, i)) {
    return PV_SIGNATURE_UNUSABLE;
  }
  return answer(v, der, head + size, rows->digests + DIGEST_ROOM * i, pv_digest_size(rows->hash[i]));
}

static enum pv_signature_result verify_rsa(verifier *v, const pv_signed *rows, uint64_t i, const uint8_t *bytes) {
  const pv_signature *g = &rows->signatures[i];
  const pv_public *key = &rows->keys[rows->key[i]];
  const uint8_t *digest = rows->digests + DIGEST_ROOM * i;
  uint32_t hash = rows->hash[i], digest_size = pv_digest_size(hash);
  if (key->type != ALG_RSA) {
    return PV_SIGNATURE_UNUSABLE;
  }
  if (g->r_size != key->x_size || g->s_size) {
    return PV_SIGNATURE_RANGE;
  }
  if (!prepare(v, rows, i)) {
    return PV_SIGNATURE_UNUSABLE;
  }
  if (rows->scheme[i] == ALG_RSAPSS || hash != SM3) {
    return answer(v, bytes + g->r_at, g->r_size, digest, digest_size);
  }
  /* Without a hash set, libcrypto compares what it recovers with these bytes: EMSA-PKCS1-v1_5 to the last of them. */
  uint8_t info[sizeof sm3_info + 32];
  memcpy(info, sm3_info, sizeof sm3_info);
  memcpy(info + sizeof sm3_info, digest, 32);
  return answer(v, bytes + g->r_at, g->r_size, info, sizeof info);
}

/* Whether a part lies inside its item: rows may come from anywhere. */
static int lies_inside(uint32_t at, uint32_t size, const int64_t *offsets, uint64_t item) {
  uint64_t whole = (uint64_t)(offsets[item + 1] - offsets[item]);
  return at <= whole && size <= whole - at;
}

static int is_sane(const pv_signed *rows, uint64_t i) {
  if (i >= rows->n || rows->key[i] >= rows->n_keys || rows->hash[i] >= PV_BANKS) {
    return 0;
  }
  const pv_signature *g = &rows->signatures[i];
  const pv_public *k = &rows->keys[rows->key[i]];
  const int64_t *signatures = rows->signature_offsets, *keys = rows->key_offsets;
  return pv_offsets_are_sane(signatures, i, i + 1) && pv_offsets_are_sane(keys, rows->key[i], rows->key[i] + 1ull) &&
         lies_inside(g->r_at, g->r_size, signatures, i) && lies_inside(g->s_at, g->s_size, signatures, i) &&
         lies_inside(k->x_at, k->x_size, keys, rows->key[i]) && lies_inside(k->y_at, k->y_size, keys, rows->key[i]);
}

int pv_verify_signatures(const pv_crypto *functions, const pv_signed *rows, const uint64_t *order, uint64_t first,
                         uint64_t last, uint8_t *results) {
  verifier v = {.builder = {.crypto = functions}, .crypto = functions};
  for (uint64_t i = first; i < last; i++) {
    if (!is_sane(rows, order[i])) {
      return PV_BAD_ARGUMENT;
    }
  }
  for (uint64_t k = first; k < last; k++) {
    uint64_t i = order[k];
    const uint8_t *bytes = rows->signature_blob + rows->signature_offsets[i];
    enum pv_signature_result result = PV_SIGNATURE_UNUSABLE;
    if (!rows->signatures[i].fault && !rows->keys[rows->key[i]].fault) {
      switch (rows->scheme[i]) {
        case ALG_ECDSA:
        case ALG_SM2: result = verify_pair(&v, rows, i, bytes); break;
        case ALG_RSASSA:
        case ALG_RSAPSS: result = verify_rsa(&v, rows, i, bytes); break;
        default: break;
      }
    }
    results[i] = (uint8_t)result;
    if (result != PV_SIGNATURE_GOOD) {
      functions->err_clear_error();
    }
  }
  forget_context(&v);
  pv_free_builder(&v.builder);
  return PV_OK;
}
