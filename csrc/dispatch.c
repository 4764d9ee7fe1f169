/* The table of hash variants: slowest first, one list a bank. */
#include "dispatch.h"

#include "pyverify.h"

static const pv_hash_variant variants[PV_BANKS] = {
    {"portable", pv_sha1_extend_portable, pv_sha1_hash_portable},
    {"portable", pv_sha256_extend_portable, pv_sha256_hash_portable},
    {"portable", pv_sha384_extend_portable, pv_sha384_hash_portable},
    {"portable", pv_sha512_extend_portable, pv_sha512_hash_portable},
    {"portable", pv_sm3_extend_portable, pv_sm3_hash_portable},
};

const pv_hash_variant *pv_variant(uint32_t bank, int32_t variant) {
  return bank < PV_BANKS && (variant == -1 || variant == 0) ? &variants[bank] : NULL;
}

uint32_t pv_variants(uint32_t bank) { return bank < PV_BANKS ? 1 : 0; }

const char *pv_variant_name(uint32_t bank, uint32_t i) {
  return i < pv_variants(bank) ? pv_variant(bank, (int32_t)i)->name : NULL;
}
