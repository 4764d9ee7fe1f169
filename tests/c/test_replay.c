/* Replay and extend against known values, slices, and the caller's mistakes. Argument: kat_log.bin. */
#include "check.h"
#include "hash_vectors.h"
#include "logs.h"

enum { SHA256 = 1, SM3 = 4 };

static const int32_t fastest[PV_BANKS] = {-1, -1, -1, -1, -1};

/* SPEC 11.2: PCR 0 starts at locality 3. */
static const struct {
  uint32_t pcr;
  const char *sha256, *sm3;
} kat[] = {
    {0, "6ef88caea18efa1870d184b77fcacdda9e3e48f4e6138baf167c9c9091aea5e1",
     "0d19508364a5c969a4fe39062f90a39459a7d8f0546b351e1335a937d740b320"},
    {1, "1e821c510eb0013cc4ac309f3ff2bae2f2e515a8a12c54ead3592d7f7158495d",
     "864a0d645835fcf7f8fba5fbe9586d09bdc947a33e1176a2c83ea0468129baad"},
    {7, "3a765fab0c4555e805964d8c75231894f45c5a6f2161738cf157015250a3e624",
     "8bd0eff2973f30c9eafaa050196124ff79a4459b22291f2f6583992f037211ef"},
    {8, "454de1d6d35677792b14873e19c8cf3ea720ad8cdcc9cd22a6621b61bc163f8d",
     "0f78fdf1d1af26ffba72c3e268ebed17bc32fb2063dbc0db78b911bd5051fa6a"},
};

static void check_kat_row(const replay *r, uint64_t row) {
  CHECK(r->logs[row].fault == PV_FAULT_NONE && r->logs[row].n_events == 8, "row %d", (int)row);
  CHECK(r->logs[row].banks == (1u << SHA256 | 1u << SM3) && r->logs[row].locality == 3, "row %d", (int)row);
  CHECK(r->logs[row].touched == (1u << 0 | 1u << 1 | 1u << 7 | 1u << 8), "row %d", (int)row);
  for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
    CHECK(is_hex(pcr_value(r, row, SHA256, kat[i].pcr), 32, kat[i].sha256), "row %d PCR %u", (int)row, kat[i].pcr);
    CHECK(is_hex(pcr_value(r, row, SM3, kat[i].pcr), 32, kat[i].sm3), "row %d PCR %u", (int)row, kat[i].pcr);
  }
  /* Start values of the others (SPEC 4.2): zeros, and ones in 17-22 without a D-RTM launch. */
  for (uint32_t pcr = 0; pcr < PV_PCRS; pcr++) {
    for (uint32_t i = 0; !(r->logs[row].touched >> pcr & 1) && i < 32; i++) {
      CHECK(pcr_value(r, row, SHA256, pcr)[i] == (pcr >= 17 && pcr <= 22 ? 0xFF : 0), "PCR %u", pcr);
    }
  }
}

static void test_kat(bytes log) {
  replay r = replay_one(log);
  CHECK(r.status == PV_OK, "status %d", r.status);
  check_kat_row(&r, 0);
  static const uint8_t zeros[PV_PCRS * 64];
  CHECK(memcmp(r.values[0], zeros, PV_PCRS * 20) == 0 && memcmp(r.values[2], zeros, PV_PCRS * 48) == 0 &&
            memcmp(r.values[3], zeros, PV_PCRS * 64) == 0,
        "banks that the log does not list");
  free_replay(&r);
}

/* SPEC 11.1. The chain under test is the second of three; its neighbours are empty and must keep their values. */
static void test_extend(void) {
  for (size_t i = 0; i < sizeof extend_vectors / sizeof *extend_vectors; i++) {
    uint32_t bank = extend_vectors[i].bank, n = extend_vectors[i].n, size = pv_digest_size(bank);
    uint64_t chain_at[4] = {0, 0, n, n};
    uint8_t *digests = block((size_t)n * size);
    for (size_t k = 0; k < (size_t)n * size; k++) {
      unsigned byte = 0;
      sscanf(extend_vectors[i].digests + 2 * k, "%2x", &byte);
      digests[k] = (uint8_t)byte;
    }
    for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
      uint8_t values[3 * 64], before[3 * 64];
      memset(values, extend_vectors[i].fill, 3 * (size_t)size);
      values[2 * size - 1] = extend_vectors[i].last;
      memcpy(before, values, sizeof values);
      CHECK(pv_extend(bank, variant, KEY, digests, chain_at, 0, 3, values, NULL) == PV_OK, "vector %zu", i);
      CHECK(is_hex(values + size, size, extend_vectors[i].result), "vector %zu variant %d", i, variant);
      CHECK(memcmp(values, before, size) == 0 && memcmp(values + 2 * size, before + 2 * size, size) == 0,
            "vector %zu variant %d: neighbours", i, variant);
    }
    free(digests);
  }
}

/* n logs of different sizes: copies of the known log, every fifth one cut in an entry, every seventh one empty. */
static bytes make_batch(bytes log, int64_t *offsets, uint64_t n) {
  bytes blob = {block(n * log.size), 0};
  offsets[0] = 0;
  for (uint64_t i = 0; i < n; i++) {
    size_t size = i % 5 == 3 ? log.size - 1 - i % 20 : i % 7 == 6 ? 0 : log.size;
    memcpy(blob.bytes + blob.size, log.bytes, size);
    blob.size += size;
    offsets[i + 1] = (int64_t)blob.size;
  }
  return blob;
}

static void test_bad_rows_beside_good_ones(bytes log) {
  enum { N = 40 };
  int64_t offsets[N + 1];
  bytes blob = make_batch(log, offsets, N);
  replay r = replay_batch(blob.bytes, offsets, N, 0, N);
  CHECK(r.status == PV_OK, "status %d", r.status);
  for (uint64_t i = 0; i < N; i++) {
    if (i % 5 == 3) {
      CHECK(r.logs[i].fault == PV_FAULT_TRUNCATED && row_is_zero(&r, i), "row %d", (int)i);
    } else if (i % 7 == 6) {
      CHECK(r.logs[i].fault == PV_FAULT_NONE && r.logs[i].n_events == 0 && row_is_zero(&r, i), "row %d", (int)i);
    } else {
      check_kat_row(&r, i);
    }
  }
  free(blob.bytes);
  free_replay(&r);
}

/* More logs than a tile takes, cut into slices that tiles do not respect: the same rows, and no other is written. */
static void test_slices(bytes log) {
  enum { N = 300 };
  static const uint64_t cuts[] = {0, 0, 1, 2, 127, 130, 299, N};
  int64_t offsets[N + 1];
  bytes blob = make_batch(log, offsets, N);
  replay whole = replay_batch(blob.bytes, offsets, N, 0, N);
  for (size_t c = 0; c + 1 < sizeof cuts / sizeof *cuts; c++) {
    uint64_t first = cuts[c], last = cuts[c + 1];
    replay part = replay_batch(blob.bytes, offsets, N, first, last);
    CHECK(part.status == PV_OK, "slice %d", (int)c);
    for (uint64_t i = 0; i < N; i++) {
      int inside = i >= first && i < last;
      for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
        size_t size = (size_t)PV_PCRS * pv_digest_size(bank);
        const uint8_t *row = pcr_value(&part, i, bank, 0);
        CHECK(inside ? memcmp(row, pcr_value(&whole, i, bank, 0), size) == 0 : row[0] == 0xA5 && row[size - 1] == 0xA5,
              "row %d bank %u", (int)i, bank);
      }
      if (inside) { /* there is no event array that first_event could point into */
        part.logs[i].first_event = whole.logs[i].first_event;
        CHECK(memcmp(&part.logs[i], &whole.logs[i], sizeof(pv_log)) == 0, "row %d", (int)i);
      } else {
        CHECK(part.logs[i].fault == 0xA5A5A5A5, "row %d", (int)i);
      }
    }
    free_replay(&part);
  }
  free(blob.bytes);
  free_replay(&whole);
}

static void test_bad_arguments(bytes log) {
  const int64_t good[2] = {0, (int64_t)log.size}, backwards[3] = {0, 10, 5}, negative[2] = {-1, 0};
  pv_log rows[2];
  pv_event events[8];
  uint64_t n;
  uint8_t values[PV_PCRS * 32];
  _Alignas(64) static uint8_t scratch[1 << 16];
#define SCAN(offsets, first, last, room) pv_scan(log.bytes, offsets, first, last, rows, events, room, &n)
#define REPLAY(offsets, first, last, banks, variants, out, room) \
  pv_replay(log.bytes, offsets, first, last, banks, variants, KEY, rows, NULL, out, NULL, NULL, NULL, scratch, room)
  CHECK(SCAN(good, 0, 1, 8) == PV_OK && n == 8, "the good call");
  CHECK(SCAN(good, 0, 1, 7) == PV_NO_ROOM, "a row too few");
  CHECK(SCAN(good, 0, 1, 0) == PV_NO_ROOM, "no row");
  CHECK(SCAN(good, 1, 0, 8) == PV_BAD_ARGUMENT, "first > last");
  CHECK(SCAN(backwards, 0, 2, 8) == PV_BAD_ARGUMENT, "offsets that decrease");
  CHECK(SCAN(negative, 0, 1, 8) == PV_BAD_ARGUMENT, "negative offset");

  uint64_t room = pv_replay_scratch(good, 0, 1);
  CHECK(room <= sizeof scratch, "scratch of %d bytes", (int)room);
  CHECK(REPLAY(good, 0, 1, 1u << SHA256, fastest, values, room) == PV_OK, "the good call");
  CHECK(REPLAY(good, 0, 0, 1u << SHA256, fastest, values, 0) == PV_OK, "an empty slice needs nothing");
  CHECK(REPLAY(good, 0, 1, 1u << SHA256, fastest, values, room - 1) == PV_NO_ROOM, "scratch one byte short");
  CHECK(REPLAY(good, 0, 1, 1u << SHA256, fastest, NULL, room) == PV_BAD_ARGUMENT, "no output for a bank");
  CHECK(REPLAY(good, 0, 1, 1u << PV_BANKS, fastest, values, room) == PV_BAD_ARGUMENT, "no such bank");
  CHECK(REPLAY(good, 1, 0, 1u << SHA256, fastest, values, room) == PV_BAD_ARGUMENT, "first > last");
  CHECK(REPLAY(backwards, 0, 2, 1u << SHA256, fastest, values, room) == PV_BAD_ARGUMENT, "offsets that decrease");
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    int32_t variants[PV_BANKS] = {-1, -1, -1, -1, -1};
    variants[bank] = (int32_t)pv_variants(bank);
    int status = REPLAY(good, 0, 1, 1u << SHA256, variants, values, room);
    CHECK(status == (bank == SHA256 ? PV_BAD_ARGUMENT : PV_OK), "only variants of banks asked for count: %u", bank);
  }

  const uint64_t chains[3] = {0, 1, 0};
  const uint8_t digest[64] = {0};
  CHECK(pv_extend(PV_BANKS, -1, KEY, digest, chains, 0, 1, values, NULL) == PV_BAD_ARGUMENT, "no such bank");
  CHECK(pv_extend(SHA256, -2, KEY, digest, chains, 0, 1, values, NULL) == PV_BAD_ARGUMENT, "no such variant");
  CHECK(pv_extend(SHA256, -1, KEY, digest, chains, 1, 0, values, NULL) == PV_BAD_ARGUMENT, "first > last");
  CHECK(pv_extend(SHA256, -1, KEY, digest, chains, 0, 2, values, NULL) == PV_BAD_ARGUMENT, "chains that decrease");
  CHECK(pv_hash(PV_BANKS, -1, KEY, log.bytes, good, 0, 1, values, NULL) == PV_BAD_ARGUMENT, "no such bank");
  CHECK(pv_hash(SHA256, (int32_t)pv_variants(SHA256), KEY, log.bytes, good, 0, 1, values, NULL) == PV_BAD_ARGUMENT,
        "no such variant");
  CHECK(pv_hash(SHA256, -1, KEY, log.bytes, backwards, 0, 2, values, NULL) == PV_BAD_ARGUMENT, "offsets that decrease");
#undef SCAN
#undef REPLAY
}

int main(int argc, char **argv) {
  if (argc != 2) {
    return 2;
  }
  bytes log = read_file(argv[1]);
  test_kat(log);
  test_extend();
  test_bad_rows_beside_good_ones(log);
  test_slices(log);
  test_bad_arguments(log);
  free(log.bytes);
  return check_result();
}
