/* Empty and odd input for every function of api.h (tests/test_hardening.py sees to it that none is missing): no rows with
 * no buffers, empty items, numbers that are none, and blobs and byte buffers at every address. Sanitizers look on.
 * Arguments: kat_log.bin, a folder with a quote, a binary IMA list, its ASCII form. */
#include "believer.h"
#include "check.h"
#include "ima_lists.h"

enum { SHA256 = 1, SIZE = 32 };

static const int32_t fastest[PV_BANKS] = {-1, -1, -1, -1, -1};

/* Nothing to do, and not one buffer. A batch of no items still has one offset. */
static void test_nothing(void) {
  int64_t *at = (int64_t *)(void *)block(sizeof *at);
  uint64_t *chain_at = (uint64_t *)(void *)block(sizeof *chain_at), n = 9, built = 9;
  *at = 0;
  *chain_at = 0;
  const pv_filters filters = {.key = 1, .bits = 6};
  const pv_signed rows = {0};
  CHECK(pv_scan(NULL, at, 0, 0, NULL, NULL, 0, &n) == PV_OK && n == 0, "pv_scan");
  n = 9;
  CHECK(pv_hunt(NULL, at, 0, 0, NULL, NULL, 0, &n, &filters, NULL, 0, NULL) == PV_OK && n == 0, "pv_hunt");
  CHECK(pv_replay(NULL, at, 0, 0, 0, fastest, KEY, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0) == PV_OK, "pv_replay");
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    CHECK(pv_extend(bank, -1, KEY, NULL, chain_at, 0, 0, NULL, NULL) == PV_OK, "pv_extend");
    CHECK(pv_hash(bank, -1, KEY, NULL, at, 0, 0, NULL, NULL) == PV_OK, "pv_hash");
    CHECK(pv_hash_pieces(bank, -1, KEY, NULL, 0, NULL, NULL, 0, 0, NULL, NULL) == PV_OK, "pv_hash_pieces");
    CHECK(pv_seek(bank, -1, NULL, chain_at, 0, 0, NULL, NULL, NULL) == PV_OK, "pv_seek");
  }
  CHECK(pv_group(NULL, at, 0, 0, KEY, NULL) == PV_OK, "pv_group");
  CHECK(pv_compare(NULL, SIZE, NULL, 0, 0, chain_at, 0, NULL, 0, NULL, 0, 0xFFFFFF, NULL) == PV_OK, "pv_compare");
  CHECK(pv_attest_decode(NULL, at, 0, 0, NULL) == PV_OK, "pv_attest_decode");
  CHECK(pv_signature_decode(NULL, at, 0, 0, NULL) == PV_OK, "pv_signature_decode");
  CHECK(pv_public_decode(NULL, at, 0, 0, NULL) == PV_OK, "pv_public_decode");
  CHECK(pv_values_decode(NULL, at, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL) == PV_OK, "pv_values_decode");
  CHECK(pv_verify_signatures(&believer, &rows, NULL, 0, 0, NULL) == PV_OK, "pv_verify_signatures");
  CHECK(pv_ima_scan(NULL, at, NULL, 0, 0, NULL, NULL, 0, &n) == PV_OK && n == 0, "pv_ima_scan");
  int64_t binary_at = 9;
  CHECK(pv_ima_from_ascii(NULL, at, NULL, NULL, 0, 0, NULL, NULL, 0, &binary_at) == PV_OK && !binary_at, "pv_ima_from_ascii");
  n = 9;
  CHECK(pv_ima_messages(NULL, 0, at, 0, NULL, NULL, 0, 0, NULL, 0, NULL, 0, NULL, NULL, NULL, &n, &built) == PV_OK, "messages");
  CHECK(n == 0 && built == 0, "pv_ima_messages");
  CHECK(pv_ima_mismatch(NULL, at, 0, NULL, NULL, 0, SHA256, NULL, NULL, 0, SIZE, NULL) == PV_OK, "pv_ima_mismatch");
  CHECK(pv_ima_chains(0, NULL, NULL, 0, 10, SHA256, NULL, NULL, 0, SIZE, SIZE, chain_at, NULL, 0) == PV_OK, "pv_ima_chains");
  CHECK(pv_collect(NULL, 0, NULL, NULL, 0, NULL, 0) == PV_OK, "pv_collect");
  n = 9;
  CHECK(pv_tar_headers(NULL, 0, 0, NULL, 0, &n, NULL) == PV_OK && n == 0, "pv_tar_headers");
  uint64_t n_slots = pv_index_slots(0), *slots = (uint64_t *)(void *)block(n_slots * sizeof *slots);
  CHECK(pv_index(NULL, at, 0, KEY, slots, n_slots) == PV_OK, "pv_index");
  const pv_ima_sets sets = {.path_at = at, .key = KEY, .slots = slots, .n_slots = n_slots};
  CHECK(pv_ima_check(NULL, at, 0, NULL, NULL, 0, NULL, &sets, NULL, NULL) == PV_OK, "pv_ima_check");
  CHECK(pv_find(NULL, at, 0, 0, NULL, at, 0, KEY, slots, n_slots, NULL) == PV_OK, "pv_find");
  CHECK(!pv_scan_capacity(at, 0, 0) && !pv_ima_capacity(at, 0, 0) && !pv_ima_binary_capacity(at, 0, 0), "capacities");
  CHECK(pv_replay_scratch(at, 0, 0) == 0, "pv_replay_scratch");
  free(slots), free(at), free(chain_at);
}

static void test_numbers_that_are_none(void) {
  static const uint32_t numbers[] = {PV_BANKS, 99, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    uint32_t number = numbers[i];
    CHECK(!pv_digest_size(number) && !pv_variants(number) && !pv_variant_name(number, 0), "%u", number);
    CHECK(i == 0 || (!pv_fault_code(number) && !pv_quote_fault_code(number) && !pv_ima_fault_code(number)), "%u", number);
    CHECK(i == 0 || (!pv_ima_algorithm_name(number) && !pv_ima_algorithm_size(number)), "%u", number);
    CHECK(!pv_variant_name(SHA256, number + 8), "%u", number);
  }
  CHECK(pv_ima_algorithm(NULL, 0) == PV_IMA_NO_ALGORITHM, "a name of no bytes");
}

/* Items of no bytes: three of them, in a blob of no bytes. */
static void test_empty_items(void) {
  enum { N = 3 };
  const int64_t at[N + 1] = {0};
  const uint64_t chain_at[N + 1] = {0};
  bytes nothing = {block(0), 0};
  uint8_t hashed[N * SIZE], start[(N + 1) * SIZE] = {0}, banks[N] = {0}, ascii[N] = {1, 1, 1};
  uint64_t same_as[N], found_at[N], n;
  replay r = replay_batch(nothing.bytes, at, N, 0, N);
  CHECK(r.status == PV_OK && !r.logs[2].n_events && row_is_zero(&r, 2), "replay");
  free_replay(&r);
  CHECK(pv_hash(SHA256, -1, KEY, nothing.bytes, at, 0, N, hashed, NULL) == PV_OK, "hash");
  CHECK(is_hex(hashed + 64, SIZE, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "of no bytes");
  CHECK(pv_extend(SHA256, -1, KEY, nothing.bytes, chain_at, 0, N, start, NULL) == PV_OK && !start[0], "extend");
  CHECK(pv_seek(SHA256, -1, nothing.bytes, chain_at, 0, N, start, start + SIZE, found_at) == PV_OK, "seek");
  CHECK(found_at[0] == 0, "a target that is the start value");
  CHECK(pv_trace(SHA256, -1, NULL, 0, start) == PV_OK, "trace");
  CHECK(pv_group(nothing.bytes, at, 0, N, KEY, same_as) == PV_OK && same_as[2] <= 2, "group");
  pv_attest attests[N];
  pv_signature signatures[N];
  pv_public keys[N];
  CHECK(pv_attest_decode(nothing.bytes, at, 0, N, attests) == PV_OK && attests[2].fault, "attest");
  CHECK(pv_signature_decode(nothing.bytes, at, 0, N, signatures) == PV_OK && signatures[2].fault, "signature");
  CHECK(pv_public_decode(nothing.bytes, at, 0, N, keys) == PV_OK && keys[2].fault, "public");
  ima_scan lists = scan_ima(nothing.bytes, at, banks, ascii, N);
  CHECK(lists.status == PV_OK && !lists.lists[2].fault && !lists.n_entries, "lists");
  ima_messages m = messages_of(&lists, N, KEY);
  CHECK(m.status == PV_OK && m.n == 0, "messages");
  free_messages(&m);
  free_ima(&lists);
  pv_log rows[N];
  pv_ima_list list_rows[N];
  const pv_filters filters = {.key = 1, .bits = 6};
  const pv_text text = {(const uint8_t *)"EFI", 3, 1};
  CHECK(pv_scan(nothing.bytes, at, 0, N, rows, NULL, 0, &n) == PV_OK && n == 0, "scan into no room");
  CHECK(pv_hunt(nothing.bytes, at, 0, N, rows, NULL, 0, &n, &filters, &text, 1, NULL) == PV_OK && n == 0, "hunt");
  CHECK(pv_ima_scan(nothing.bytes, at, banks, 0, N, list_rows, NULL, 0, &n) == PV_OK && n == 0, "lists into no room");
  free(nothing.bytes);
}

/* The same bytes at an address that is `by` past one that is aligned to 16, up to the end of their block. */
static bytes shifted(bytes from, size_t by) {
  bytes b = {block(from.size + by), from.size};
  memcpy(b.bytes + by, from.bytes, from.size);
  b.bytes += by;
  return b;
}

static void test_unaligned_logs(bytes log, size_t by) {
  bytes moved = shifted(log, by);
  const int64_t at[2] = {0, (int64_t)log.size};
  uint64_t room = pv_replay_scratch(at, 0, 1);
  uint8_t *pcrs = block(PV_PCRS * SIZE + by), *scratch = aligned_alloc(64, room), digest[SIZE], *hashed = block(SIZE + by);
  pv_log row;
  replay expected = replay_one(log);
  CHECK(pv_replay(moved.bytes, at, 0, 1, 1u << SHA256, fastest, KEY, &row, NULL, pcrs + by, NULL, NULL, NULL, scratch,
                  room) == PV_OK && memcmp(pcrs + by, expected.values[SHA256], PV_PCRS * SIZE) == 0, "replay, %zu", by);
  for (int32_t variant = -1; variant < (int32_t)pv_variants(SHA256); variant++) {
    CHECK(pv_hash(SHA256, variant, 0, log.bytes, at, 0, 1, digest, NULL) == PV_OK, "hash");
    CHECK(pv_hash(SHA256, variant, 0, moved.bytes, at, 0, 1, hashed + by, NULL) == PV_OK, "hash");
    CHECK(memcmp(hashed + by, digest, SIZE) == 0, "hash, %zu", by);
  }
  free(moved.bytes - by), free(pcrs), free(scratch), free(hashed);
  free_replay(&expected);
}

/* Chains in every bank and variant: digests, values and targets all at odd addresses. */
static void test_unaligned_chains(bytes from, size_t by) {
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    uint32_t size = pv_digest_size(bank);
    const uint64_t chain_at[3] = {0, 3, 5};
    bytes digests = {from.bytes, 5 * (size_t)size}, moved = shifted(digests, by);
    uint8_t aligned[2 * 64] = {0}, *values = block(2 * (size_t)size + by), *trace = block(6 * (size_t)size + by);
    uint64_t found[2];
    CHECK(pv_extend(bank, 0, 0, digests.bytes, chain_at, 0, 2, aligned, NULL) == PV_OK, "bank %u", bank);
    bytes targets = shifted((bytes){aligned, 2 * (size_t)size}, by);
    for (int32_t variant = -1; variant < (int32_t)pv_variants(bank); variant++) {
      memset(values + by, 0, 2 * (size_t)size);
      CHECK(pv_extend(bank, variant, 0, moved.bytes, chain_at, 0, 2, values + by, NULL) == PV_OK, "bank %u", bank);
      CHECK(memcmp(values + by, aligned, 2 * (size_t)size) == 0, "bank %u variant %d at %zu", bank, variant, by);
      memset(values + by, 0, 2 * (size_t)size);
      CHECK(pv_seek(bank, variant, moved.bytes, chain_at, 0, 2, values + by, targets.bytes, found) == PV_OK, "seek");
      CHECK(found[0] == 3 && found[1] == 2, "bank %u variant %d at %zu", bank, variant, by);
      memset(trace + by, 0, size);
      CHECK(pv_trace(bank, variant, moved.bytes, 3, trace + by) == PV_OK, "trace");
      CHECK(memcmp(trace + by + 3 * size, aligned, size) == 0, "bank %u variant %d at %zu", bank, variant, by);
    }
    free(moved.bytes - by), free(targets.bytes - by), free(values), free(trace);
  }
}

static void test_unaligned_quotes(const char *folder, size_t by) {
  static const char *const parts[] = {"quote.msg", "quote.sig", "ak.pub"};
  for (int i = 0; i < 3; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
    bytes item = read_file(path), moved = shifted(item, by);
    const int64_t at[2] = {0, (int64_t)item.size};
    pv_attest attest = {.fault = 99};
    pv_signature signature = {.fault = 99};
    pv_public key = {.fault = 99};
    CHECK(pv_attest_decode(moved.bytes, at, 0, 1, &attest) == PV_OK && !attest.fault == (i == 0), "%s", path);
    CHECK(pv_signature_decode(moved.bytes, at, 0, 1, &signature) == PV_OK && (i != 1 || !signature.fault), "%s", path);
    CHECK(pv_public_decode(moved.bytes, at, 0, 1, &key) == PV_OK && !key.fault == (i == 2), "%s", path);
    free(item.bytes), free(moved.bytes - by);
  }
}

static void test_unaligned_lists(bytes binary, bytes ascii, size_t by) {
  bytes moved = shifted(binary, by), text = shifted(ascii, by);
  ima_scan aligned = scan_one_ima(binary, SHA1, 0), a = scan_one_ima(moved, SHA1, 0), b = scan_one_ima(text, SHA1, 1);
  CHECK(a.n_entries > 1 && a.n_entries == aligned.n_entries && b.n_entries == a.n_entries, "%zu", by);
  CHECK(memcmp(a.entries, aligned.entries, a.n_entries * sizeof *a.entries) == 0, "%zu", by);
  CHECK(b.binary.size == binary.size && memcmp(b.binary.bytes, binary.bytes, binary.size) == 0, "%zu", by);
  free_ima(&aligned), free_ima(&a), free_ima(&b);
  free(moved.bytes - by), free(text.bytes - by);
}

/* Lookup, collection and comparison, whose tables are bytes too. */
static void test_unaligned_tables(bytes log, size_t by) {
  const int64_t at[4] = {0, 7, 20, 33};
  const uint32_t sizes[2] = {13, 7}, reference[1] = {0}, members[1] = {0};
  const int64_t pieces[2] = {7, 0};
  bytes moved = shifted((bytes){log.bytes, 33}, by);
  uint64_t n_slots = pv_index_slots(3), *slots = (uint64_t *)(void *)block(n_slots * sizeof *slots), set_at[PV_PCRS + 1];
  uint32_t found[3], differs;
  uint8_t *collected = block(20 + by), *values = block(PV_PCRS * SIZE + by);
  CHECK(pv_index(moved.bytes, at, 3, KEY, slots, n_slots) == PV_OK, "index");
  CHECK(pv_find(moved.bytes, at, 0, 3, moved.bytes, at, 3, KEY, slots, n_slots, found) == PV_OK && found[2] == 2, "find");
  CHECK(pv_collect(moved.bytes, 33, pieces, sizes, 2, collected + by, 20) == PV_OK, "collect");
  CHECK(memcmp(collected + by, log.bytes + 7, 13) == 0 && memcmp(collected + by + 13, log.bytes, 7) == 0, "%zu", by);
  memset(values + by, 0, PV_PCRS * SIZE);
  for (uint32_t pcr = 0; pcr <= PV_PCRS; pcr++) {
    set_at[pcr] = pcr > 0;
  }
  CHECK(pv_compare(values + by, SIZE, reference, 0, 1, set_at, 1, members, 1, values + by, 1, 3, &differs) == PV_OK, "compare");
  CHECK(differs == 2, "PCR 0 is allowed, PCR 1 is not: %u", differs);
  free(moved.bytes - by), free(slots), free(collected), free(values);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    return 2;
  }
  bytes log = read_file(argv[1]), binary = read_file(argv[3]), ascii = read_file(argv[4]);
  test_nothing();
  test_numbers_that_are_none();
  test_empty_items();
  for (size_t by = 0; by < 16; by++) {
    test_unaligned_logs(log, by);
    test_unaligned_chains(log, by);
    test_unaligned_quotes(argv[2], by);
    test_unaligned_lists(binary, ascii, by);
    test_unaligned_tables(log, by);
  }
  free(log.bytes), free(binary.bytes), free(ascii.bytes);
  return check_result();
}
