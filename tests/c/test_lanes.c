/* Lane scheduling and every kernel against the portable one (which test_hash holds against the standards): ragged
 * chains and messages in exact-size blocks, with and without sharing. Prints the variants, which ctest looks at. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pyverify.h"

enum { MOST = 70, ROUNDS = 60 };

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_below(uint32_t n) { /* xorshift64: the same numbers on every machine */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 33) % n;
}

static uint8_t *random_bytes(uint64_t n, uint32_t kinds) {
  uint8_t *p = malloc(n ? n : 1);
  for (uint64_t i = 0; i < n; i++) {
    p[i] = (uint8_t)random_below(kinds);
  }
  return p;
}

/* A length below `longest`: any, or one that most have. */
static uint32_t random_length(uint32_t longest, int ragged) {
  return ragged || !random_below(8) ? random_below(longest) : longest / 2;
}

static void check_chains(uint32_t bank, uint32_t kinds, int ragged) {
  uint32_t n = random_below(MOST), size = pv_digest_size(bank), longest = 1 + random_below(40);
  uint64_t at[MOST + 1] = {0};
  for (uint32_t c = 0; c < n; c++) {
    at[c + 1] = at[c] + random_length(longest, ragged);
  }
  uint8_t *digests = random_bytes(at[n] * size, kinds), *starts = random_bytes((uint64_t)n * size, kinds);
  uint8_t *expected = malloc((uint64_t)n * size + 1), *got = malloc((uint64_t)n * size + 1);
  memcpy(expected, starts, (uint64_t)n * size);
  CHECK(pv_extend(bank, 0, 0, digests, at, 0, n, expected, NULL) == PV_OK, "bank %u", bank);
  for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
    for (uint64_t key = 0; key < 2; key++) {
      memcpy(got, starts, (uint64_t)n * size);
      CHECK(pv_extend(bank, variant, key, digests, at, 0, n, got, NULL) == PV_OK, "bank %u", bank);
      CHECK(memcmp(got, expected, (uint64_t)n * size) == 0, "bank %u variant %d key %u: %u chains", bank, variant,
            (unsigned)key, n);
    }
  }
  free(digests);
  free(starts);
  free(expected);
  free(got);
}

static void check_messages(uint32_t bank, uint32_t kinds, int ragged) {
  uint32_t n = random_below(MOST), size = pv_digest_size(bank), longest = 1 + random_below(700);
  int64_t at[MOST + 1] = {0};
  for (uint32_t i = 0; i < n; i++) {
    at[i + 1] = at[i] + random_length(longest, ragged);
  }
  uint8_t *blob = random_bytes((uint64_t)at[n], kinds);
  uint8_t *expected = malloc((uint64_t)n * size + 1), *got = malloc((uint64_t)n * size + 1);
  CHECK(pv_hash(bank, 0, 0, blob, at, 0, n, expected, NULL) == PV_OK, "bank %u", bank);
  for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
    for (uint64_t key = 0; key < 2; key++) {
      CHECK(pv_hash(bank, variant, key, blob, at, 0, n, got, NULL) == PV_OK, "bank %u", bank);
      CHECK(memcmp(got, expected, (uint64_t)n * size) == 0, "bank %u variant %d: %u messages", bank, variant, n);
    }
  }
  free(blob);
  free(expected);
  free(got);
}

int main(void) {
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    printf("bank %u:", bank);
    for (uint32_t i = 0; i < pv_variants(bank); i++) {
      printf(" %s", pv_variant_name(bank, i));
    }
    printf(";\n");
    for (int round = 0; round < ROUNDS; round++) {
      int ragged = round % 4 < 2;
      check_chains(bank, round % 2 ? 2 : 256, ragged);
      check_messages(bank, round % 2 ? 1 : 256, ragged); /* equal ones too */
    }
  }
  return check_result();
}
