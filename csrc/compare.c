/* Comparison of PCR values with sets of allowed values: always whole values of one bank, never prefixes. */
#include <string.h>

#include "pyverify.h"

static int is_member(const uint8_t *value, uint32_t size, const uint32_t *members, uint64_t n, const uint8_t *allowed,
                     uint64_t n_allowed) {
  for (uint64_t i = 0; i < n; i++) {
    if (members[i] < n_allowed && memcmp(value, allowed + (uint64_t)members[i] * size, size) == 0) {
      return 1;
    }
  }
  return 0;
}

int pv_compare(const uint8_t *values, uint32_t digest_size, const uint32_t *reference, uint64_t first,
               uint64_t last, const uint64_t *set_at, uint64_t n_references, const uint32_t *members,
               uint64_t n_members, const uint8_t *allowed, uint64_t n_allowed, uint32_t mask, uint32_t *differs) {
  if (first > last || digest_size == 0 || mask >> PV_PCRS) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    uint32_t bits = mask;
    for (uint32_t pcr = 0; reference[i] < n_references && pcr < PV_PCRS; pcr++) {
      const uint64_t *at = set_at + (uint64_t)reference[i] * PV_PCRS + pcr;
      if (!(mask >> pcr & 1)) {
        continue;
      }
      if (at[0] > at[1] || at[1] > n_members) {
        return PV_BAD_ARGUMENT;
      }
      if (is_member(values + (i * PV_PCRS + pcr) * digest_size, digest_size, members + at[0], at[1] - at[0], allowed,
                    n_allowed)) {
        bits &= ~(1u << pcr);
      }
    }
    differs[i] = bits;
  }
  return PV_OK;
}
