/* libFuzzer target: every variant of every hash against the portable one: chains and messages of any number and length,
 * equal ones among them, extended, hashed, sought in and traced. */
#include "fuzz.h"

enum { MOST = 40 };

typedef struct {
  uint32_t bank, size, n;
  bytes digests, starts, expected;
  uint64_t at[MOST + 1];
} chains;

static void check_extend(const chains *c, int32_t variant, uint64_t key) {
  bytes got = copy(c->starts.bytes, c->starts.size);
  must(pv_extend(c->bank, variant, key, c->digests.bytes, c->at, 0, c->n, got.bytes, NULL) == PV_OK);
  must(memcmp(got.bytes, c->expected.bytes, got.size) == 0);
  free(got.bytes);
}

/* All values of chain i by the portable hash. */
static bytes trace(const chains *c, uint32_t i, int32_t variant) {
  uint64_t n = c->at[i + 1] - c->at[i];
  bytes values = {block((size_t)(n + 1) * c->size), (size_t)(n + 1) * c->size};
  memcpy(values.bytes, c->starts.bytes + i * c->size, c->size);
  must(pv_trace(c->bank, variant, c->digests.bytes + c->at[i] * c->size, n, values.bytes) == PV_OK);
  return values;
}

/* What each chain is after some of its digests is found there, or before where it was the same. */
static void check_seek(const chains *c, int32_t variant, uint8_t seed) {
  bytes values = copy(c->starts.bytes, c->starts.size), targets = copy(c->starts.bytes, c->starts.size);
  uint64_t found[MOST], wanted[MOST];
  for (uint32_t i = 0; i < c->n; i++) {
    bytes all = trace(c, i, 0), same = trace(c, i, variant);
    uint64_t n = c->at[i + 1] - c->at[i], k = (seed + i) % (n + 1);
    must(memcmp(all.bytes, same.bytes, all.size) == 0);
    must(memcmp(all.bytes + n * c->size, c->expected.bytes + i * c->size, c->size) == 0);
    memcpy(targets.bytes + i * c->size, all.bytes + k * c->size, c->size);
    if ((seed + i) % 5 == 4) { /* nowhere: a hash does not lead to this */
      memset(targets.bytes + i * c->size, 0xA5, c->size);
    }
    for (wanted[i] = 0; wanted[i] <= n; wanted[i]++) {
      if (memcmp(all.bytes + wanted[i] * c->size, targets.bytes + i * c->size, c->size) == 0) {
        break;
      }
    }
    wanted[i] = wanted[i] > n ? UINT64_MAX : wanted[i];
    free(all.bytes);
    free(same.bytes);
  }
  must(pv_seek(c->bank, variant, c->digests.bytes, c->at, 0, c->n, values.bytes, targets.bytes, found) == PV_OK);
  for (uint32_t i = 0; i < c->n; i++) {
    must(found[i] == wanted[i]);
    must(found[i] == UINT64_MAX || memcmp(values.bytes + i * c->size, targets.bytes + i * c->size, c->size) == 0);
  }
  free(values.bytes);
  free(targets.bytes);
}

static void check_chains(input *in, uint32_t bank) {
  chains c = {.bank = bank, .size = pv_digest_size(bank), .n = take_below(in, MOST + 1)};
  uint8_t seed = take_byte(in), longest = take_byte(in) % 24 + 1;
  for (uint32_t i = 0; i < c.n; i++) {
    c.at[i + 1] = c.at[i] + take_below(in, longest);
  }
  c.starts = take_block(in, c.n * c.size);
  c.digests = take_block(in, (size_t)c.at[c.n] * c.size);
  c.expected = copy(c.starts.bytes, c.starts.size);
  must(pv_extend(bank, 0, 0, c.digests.bytes, c.at, 0, c.n, c.expected.bytes, NULL) == PV_OK);
  for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
    check_extend(&c, variant, 0);
    check_extend(&c, variant, KEY);
    check_seek(&c, variant, seed);
  }
  free(c.starts.bytes);
  free(c.digests.bytes);
  free(c.expected.bytes);
}

static void check_messages(input *in, uint32_t bank) {
  uint32_t n = take_below(in, MOST + 1), size = pv_digest_size(bank), scale = take_below(in, 4);
  int64_t at[MOST + 1] = {0};
  for (uint32_t i = 0; i < n; i++) { /* up to 3 blocks of SHA-512, and what is beside the edge of any */
    at[i + 1] = at[i] + (int64_t)(take_byte(in) * scale) / 2;
  }
  bytes blob = take_block(in, (size_t)at[n]), expected = {block((size_t)n * size), (size_t)n * size};
  bytes got = {block(expected.size), expected.size};
  must(pv_hash(bank, 0, 0, blob.bytes, at, 0, n, expected.bytes, NULL) == PV_OK);
  for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
    for (unsigned keyed = 0; keyed < 2; keyed++) {
      memset(got.bytes, 0xA5, got.size);
      must(pv_hash(bank, variant, keyed ? KEY : 0, blob.bytes, at, 0, n, got.bytes, NULL) == PV_OK);
      must(memcmp(got.bytes, expected.bytes, got.size) == 0);
      memset(got.bytes, 0xA5, got.size);
      must(pv_hash_pieces(bank, variant, keyed ? KEY : 0, blob.bytes, blob.size, at, at + 1, 0, n, got.bytes, NULL) ==
           PV_OK);
      must(memcmp(got.bytes, expected.bytes, got.size) == 0);
    }
  }
  free(blob.bytes);
  free(expected.bytes);
  free(got.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  uint32_t what = take_below(&in, 2 * PV_BANKS);
  if (what < PV_BANKS) {
    check_chains(&in, what);
  } else {
    check_messages(&in, what - PV_BANKS);
  }
  return 0;
}
