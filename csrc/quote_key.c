/* Public keys built from their numbers, since every machine has a key of its own: with EVP_PKEY_fromdata an RSA key takes
 * some 9 us, a point 21 to 39 us (OpenSSL 3.0, whose DER decoder takes 150 to 250 us); a point set into a key that has
 * its curve already takes 3 us, beside 70 us for a signature of P-256. */
#include "quote_key.h"

/* OSSL_PARAM of OpenSSL 3 (core.h), which its ABI fixes. */
typedef struct {
  const char *key;
  unsigned type;
  void *data;
  size_t size;
  size_t returned;
} ossl_param;

enum {
  OSSL_UNSIGNED_INTEGER = 2,
  OSSL_UTF8_STRING = 4,
  OSSL_OCTET_STRING = 5,
  SELECT_PUBLIC_KEY = 0x86, /* EVP_PKEY_PUBLIC_KEY: the public part and all parameters */
};

static const uint8_t p256_n[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t p384_n[48] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
static const uint8_t p521_n[66] = {
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa,
    0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b, 0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b,
    0xb5, 0xc9, 0xb8, 0x89, 0x9c, 0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09};
static const uint8_t sm2_n[32] = {
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x72, 0x03, 0xdf, 0x6b, 0x21, 0xc6, 0x05, 0x2b, 0x53, 0xbb, 0xf4, 0x09, 0x39, 0xd5, 0x41, 0x23};

const uint8_t *pv_curve_order(uint32_t curve) {
  switch (curve) {
    case CURVE_P256: return p256_n;
    case CURVE_P384: return p384_n;
    case CURVE_P521: return p521_n;
    case CURVE_SM2: return sm2_n;
    default: return NULL;
  }
}

static void *from_parameters(const pv_crypto *f, void *context, ossl_param *parameters) {
  void *key = NULL;
  int made = context && f->pkey_fromdata_init(context) == 1 &&
             f->pkey_fromdata(context, &key, SELECT_PUBLIC_KEY, parameters) == 1;
  return made ? key : NULL;
}

/* The numbers of OSSL_PARAM are in the byte order of the machine, which is little-endian on all that are built for. */
static void *build_rsa(pv_key_builder *b, const uint8_t *bytes, const pv_public *key) {
  uint8_t modulus[MAX_RSA_BYTES], exponent[4];
  for (uint32_t i = 0; i < key->x_size; i++) {
    modulus[i] = bytes[key->x_at + key->x_size - 1 - i];
  }
  for (uint32_t i = 0; i < 4; i++) {
    exponent[i] = (uint8_t)(key->exponent >> 8 * i);
  }
  ossl_param parameters[] = {
      {"n", OSSL_UNSIGNED_INTEGER, modulus, key->x_size, SIZE_MAX},
      {"e", OSSL_UNSIGNED_INTEGER, exponent, sizeof exponent, SIZE_MAX},
      {NULL, 0, NULL, 0, 0},
  };
  if (b->rsa) {
    b->crypto->pkey_free(b->rsa);
  }
  if (!b->rsa_context) {
    b->rsa_context = b->crypto->pkey_ctx_new_from_name(NULL, "RSA", NULL);
  }
  b->rsa = from_parameters(b->crypto, b->rsa_context, parameters);
  return b->rsa;
}

static unsigned number_of(uint32_t curve) {
  return curve == CURVE_P256 ? 0 : curve == CURVE_P384 ? 1 : curve == CURVE_P521 ? 2 : 3;
}

/* The first key of a curve; libcrypto refuses a point that is not on it, here and when it is set. */
static void *first_point(const pv_crypto *f, unsigned curve, uint8_t *point, size_t size) {
  char names[CURVES][11] = {"prime256v1", "secp384r1", "secp521r1", "SM2"};
  void *context = f->pkey_ctx_new_from_name(NULL, curve == 3 ? "SM2" : "EC", NULL);
  ossl_param parameters[] = {
      {"group", OSSL_UTF8_STRING, names[curve], strlen(names[curve]), SIZE_MAX},
      {"pub", OSSL_OCTET_STRING, point, size, SIZE_MAX},
      {NULL, 0, NULL, 0, 0},
  };
  void *key = from_parameters(f, context, parameters);
  if (context) {
    f->pkey_ctx_free(context);
  }
  return key;
}

static void *build_point(pv_key_builder *b, const uint8_t *bytes, const pv_public *key) {
  uint32_t field = pv_field_size(key->curve);
  uint8_t point[1 + 2 * MAX_FIELD_BYTES] = {4}; /* uncompressed */
  size_t size = 1 + 2 * (size_t)field;
  void **kept = &b->points[number_of(key->curve)];
  memcpy(point + 1 + field - key->x_size, bytes + key->x_at, key->x_size);
  memcpy(point + 1 + 2 * field - key->y_size, bytes + key->y_at, key->y_size);
  if (!*kept) {
    *kept = first_point(b->crypto, number_of(key->curve), point, size);
    return *kept;
  }
  return b->crypto->pkey_set1_encoded_public_key(*kept, point, size) == 1 ? *kept : NULL;
}

void *pv_build_key(pv_key_builder *b, const uint8_t *key_bytes, const pv_public *key) {
  uint32_t field = pv_field_size(key->curve);
  if (key->type == ALG_RSA && key->x_size >= 1 && key->x_size <= MAX_RSA_BYTES) {
    return build_rsa(b, key_bytes, key);
  }
  if (key->type == ALG_ECC && field && key->x_size <= field && key->y_size <= field) {
    return build_point(b, key_bytes, key);
  }
  return NULL;
}

void pv_free_builder(pv_key_builder *b) {
  if (b->rsa_context) {
    b->crypto->pkey_ctx_free(b->rsa_context);
  }
  if (b->rsa) {
    b->crypto->pkey_free(b->rsa);
  }
  for (unsigned i = 0; i < CURVES; i++) {
    if (b->points[i]) {
      b->crypto->pkey_free(b->points[i]);
    }
  }
}
