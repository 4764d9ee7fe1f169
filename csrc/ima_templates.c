/* IMA's templates (SPEC 7.3; the kernel's ima_template.c) and the algorithms that a file's digest may name
 * (crypto/hash_info.c and enum hash_algo of the kernel). */
#include <string.h>

#include "ima.h"

static const char *const field_ids[IMA_FIELDS] = {
    "d",        "d-ng",   "d-ngv2",     "n",            "n-ng",        "sig",  "evmsig", "buf",
    "d-modsig", "modsig", "xattrnames", "xattrlengths", "xattrvalues", "iuid", "igid",   "imode",
};

/* By number of enum pv_ima_template_id. */
static const struct {
  const char *name, *format;
} templates[] = {
    {"", ""},
    {"ima", "d|n"},
    {"ima-ng", "d-ng|n-ng"},
    {"ima-sig", "d-ng|n-ng|sig"},
    {"ima-ngv2", "d-ngv2|n-ng"},
    {"ima-sigv2", "d-ngv2|n-ng|sig"},
    {"ima-buf", "d-ng|n-ng|buf"},
    {"ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"},
    {"evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"},
};

/* By number of enum hash_algo. */
static const struct {
  const char *name;
  uint32_t size;
} algorithms[] = {
    {"md4", 16},         {"md5", 16},         {"sha1", 20},     {"rmd160", 20},   {"sha256", 32},
    {"sha384", 48},      {"sha512", 64},      {"sha224", 28},   {"rmd128", 16},   {"rmd256", 32},
    {"rmd320", 40},      {"wp256", 32},       {"wp384", 48},    {"wp512", 64},    {"tgr128", 16},
    {"tgr160", 20},      {"tgr192", 24},      {"sm3", 32},      {"streebog256", 32},
    {"streebog512", 64}, {"sha3-256", 32},    {"sha3-384", 48}, {"sha3-512", 64},
};

enum { N_ALGORITHMS = sizeof algorithms / sizeof *algorithms, SM3 = 17 };

static int is(const uint8_t *text, uint64_t size, const char *word) {
  return size == strlen(word) && memcmp(text, word, size) == 0;
}

const char *pv_ima_algorithm_name(uint32_t algorithm) {
  return algorithm < N_ALGORITHMS ? algorithms[algorithm].name : NULL;
}

uint32_t pv_ima_algorithm_size(uint32_t algorithm) {
  return algorithm < N_ALGORITHMS ? algorithms[algorithm].size : 0;
}

uint32_t pv_ima_algorithm(const uint8_t *name, uint64_t size) {
  for (uint32_t i = 0; i < N_ALGORITHMS; i++) {
    if (is(name, size, algorithms[i].name)) {
      return i;
    }
  }
  /* The kernel's older name, and the TCG's, which tools write. */
  return is(name, size, "sm3-256") || is(name, size, "sm3_256") ? SM3 : PV_IMA_NO_ALGORITHM;
}

uint32_t ima_number_size(uint8_t field) {
  return field == FIELD_IMODE ? 2 : field == FIELD_IUID || field == FIELD_IGID ? 4 : 0;
}

static uint32_t count(uint32_t seen, uint32_t fields) { return (uint32_t)__builtin_popcount(seen & fields); }

/* Splits a format such as "d-ng|n-ng". */
static int read_format(const uint8_t *format, uint64_t size, ima_template *found) {
  uint32_t seen = 0;
  found->n_fields = 0;
  for (;;) {
    const uint8_t *end = memchr(format, '|', size);
    uint64_t id_size = end ? (uint64_t)(end - format) : size;
    uint8_t field = 0;
    while (field < IMA_FIELDS && !is(format, id_size, field_ids[field])) {
      field++;
    }
    if (field == IMA_FIELDS || seen >> field & 1 || found->n_fields == IMA_MAX_FIELDS) {
      return 0;
    }
    seen |= 1u << field;
    found->fields[found->n_fields++] = field;
    if (!end) {
      break;
    }
    format = end + 1;
    size -= id_size + 1;
  }
  return count(seen, 1u << FIELD_D | 1u << FIELD_D_NG | 1u << FIELD_D_NGV2) <= 1 &&
         count(seen, 1u << FIELD_N | 1u << FIELD_N_NG) <= 1 &&
         count(seen, 1u << FIELD_SIG | 1u << FIELD_EVMSIG | 1u << FIELD_BUF) <= 1;
}

int ima_find_template(const uint8_t *name, uint64_t size, ima_template *found) {
  for (uint32_t i = 1; i < sizeof templates / sizeof *templates; i++) {
    if (is(name, size, templates[i].name)) {
      found->id = i;
      return read_format((const uint8_t *)templates[i].format, strlen(templates[i].format), found);
    }
  }
  found->id = PV_IMA_CUSTOM;
  return size && read_format(name, size, found);
}
