/* IMA lists: every prefix of a list, and entries with one thing wrong. Arguments: list files, .binary or .ascii, with the
 * bank of their digests after a `_`. */
#include "check.h"
#include "ima_lists.h"

enum { SHA256 = 1 };

static int ends_in(const char *path, const char *end) {
  size_t n = strlen(path), m = strlen(end);
  return n >= m && strcmp(path + n - m, end) == 0;
}

/* Each prefix is good where it ends between two entries, and ima.truncated at the entry that was cut elsewhere. */
static void check_prefixes(const char *path) {
  uint8_t bank = ends_in(path, "_sha256") ? SHA256 : SHA1, is_ascii = ends_in(path, ".ascii") ? 1 : 0;
  bytes list = read_file(path);
  ima_scan whole = scan_one_ima(list, bank, is_ascii);
  CHECK(whole.status == PV_OK && !whole.translated->fault && !whole.lists->fault && whole.n_entries > 1, "%s", path);
  uint64_t entries = 0, cut_at = 0;
  for (size_t size = 0; size <= list.size; size++) {
    if (is_ascii ? size && list.bytes[size - 1] == '\n'
                 : entries < whole.n_entries && whole.entries[entries].data_at + whole.entries[entries].data_size == size) {
      entries++;
      cut_at = size;
    }
    bytes prefix = copy(list.bytes, size);
    ima_scan s = scan_one_ima(prefix, bank, is_ascii);
    const pv_ima_list *row = is_ascii ? s.translated : s.lists;
    CHECK(s.status == PV_OK && s.n_entries == entries && s.lists->n_entries == entries, "%s, %zu bytes", path, size);
    CHECK(row->fault == (size == cut_at ? PV_IMA_FAULT_NONE : PV_IMA_FAULT_TRUNCATED), "%s, %zu bytes: fault %u", path,
          size, row->fault);
    CHECK(size == cut_at || row->fault_at == cut_at, "%s, %zu bytes: at %d", path, size, (int)row->fault_at);
    CHECK(!is_ascii || !s.lists->fault, "%s, %zu bytes: the translation has fault %u", path, size, s.lists->fault);
    free_ima(&s);
    free(prefix.bytes);
  }
  CHECK(entries == whole.n_entries && cut_at == list.size, "%s", path);
  free_ima(&whole);
  free(list.bytes);
}

/* A field: its length and its bytes. */
static void append_field(bytes *b, const void *data, size_t size) {
  append_le32(b, (uint32_t)size);
  append(b, data, size);
}

/* An entry of template ima-sig whose data comes in parts, so that each may be wrong. */
static bytes entry_of(uint32_t pcr, const char *template, bytes data) {
  bytes b = {block(0), 0};
  append_le32(&b, pcr);
  append(&b, "ABCDEFGHIJKLMNOPQRST", 20);
  append_field(&b, template, strlen(template));
  append_field(&b, data.bytes, data.size);
  free(data.bytes);
  return b;
}

static bytes data_of(const void *digest, size_t digest_size, const void *path, size_t path_size) {
  bytes b = {block(0), 0};
  append_field(&b, digest, digest_size);
  append_field(&b, path, path_size);
  return b;
}

#define DIGEST "sha256:\0" "0123456789abcdef0123456789abcdef"
#define NG data_of(DIGEST, 40, "/init", 6)
enum { FIRST_FIELD = 4 + 20 + 4 + 6 + 4 }; /* of an ima-ng entry */

static void expect(const char *what, bytes list, uint32_t fault, uint64_t at) {
  ima_scan s = scan_one_ima(list, SHA1, 0);
  CHECK(s.lists->fault == fault && s.lists->fault_at == at, "%s: fault %u at %d", what, s.lists->fault,
        (int)s.lists->fault_at);
  CHECK(s.lists->n_entries == (fault ? 0 : 1), "%s", what);
  free_ima(&s);
  free(list.bytes);
}

static bytes changed(bytes list, size_t at, uint32_t value) {
  for (int i = 0; i < 4; i++) {
    list.bytes[at + (size_t)i] = (uint8_t)(value >> 8 * i);
  }
  return list;
}

static bytes without_last(bytes b) {
  b.size--;
  return b;
}

static bytes with_last(bytes b) {
  append(&b, "x", 1);
  return b;
}

static void check_faults(void) {
  uint32_t format = PV_IMA_FAULT_FORMAT;
  expect("good", entry_of(10, "ima-ng", NG), PV_IMA_FAULT_NONE, 0);
  expect("PCR 24", entry_of(24, "ima-ng", NG), format, 0);
  expect("big-endian PCR", entry_of(0x0A000000, "ima-ng", NG), PV_IMA_FAULT_ENDIANNESS, 0);
  expect("big-endian length", changed(entry_of(0, "ima-ng", NG), 24, 0x06000000), PV_IMA_FAULT_ENDIANNESS, 0);
  expect("no template", changed(entry_of(10, "ima-ng", NG), 24, 0), format, 24);
  expect("long template", changed(entry_of(10, "ima-ng", NG), 24, 100), format, 24);
  expect("unknown template", entry_of(10, "ima-nx", NG), PV_IMA_FAULT_TEMPLATE, 28);
  expect("unknown field", entry_of(10, "d-ng|n-nx", NG), PV_IMA_FAULT_TEMPLATE, 28);
  expect("a field twice", entry_of(10, "n-ng|n-ng", NG), PV_IMA_FAULT_TEMPLATE, 28);
  expect("two digests", entry_of(10, "d-ng|d", NG), PV_IMA_FAULT_TEMPLATE, 28);
  expect("an empty field id", entry_of(10, "d-ng|", NG), PV_IMA_FAULT_TEMPLATE, 28);
  expect("custom", entry_of(10, "d-ng|n-ng", NG), PV_IMA_FAULT_NONE, 0);
  expect("huge data", changed(entry_of(10, "ima-ng", NG), FIRST_FIELD - 4, 0xFFFFFFFF), format, FIRST_FIELD - 4);
  expect("data past the end", changed(entry_of(10, "ima-ng", NG), FIRST_FIELD - 4, 55), PV_IMA_FAULT_TRUNCATED, 0);
  expect("field past the data", changed(entry_of(10, "ima-ng", NG), FIRST_FIELD, 0xFFFFFFFF), format, FIRST_FIELD);
  expect("second past the data", changed(entry_of(10, "ima-ng", NG), FIRST_FIELD + 44, 7), format, FIRST_FIELD + 44);
  expect("data left over", entry_of(10, "ima-ng", with_last(NG)), format, FIRST_FIELD + 54);
  expect("field without its end", entry_of(10, "ima-ng", without_last(NG)), format, FIRST_FIELD + 44);
  expect("a field too few", entry_of(10, "ima-sig", NG), format, FIRST_FIELD + 1 + 54);
  expect("name without NUL", entry_of(10, "ima-ng", data_of(DIGEST, 40, "/init", 5)), format, FIRST_FIELD + 44);
  expect("name with two", entry_of(10, "ima-ng", data_of(DIGEST, 40, "/i\0t", 5)), format, FIRST_FIELD + 44);
  expect("no name", entry_of(10, "ima-ng", data_of(DIGEST, 40, "", 0)), format, FIRST_FIELD + 44);
  expect("algorithm without NUL", entry_of(10, "ima-ng", data_of("sha256:", 7, "/init", 6)), format, FIRST_FIELD);
  expect("algorithm without colon", entry_of(10, "ima-ng", data_of("sha256", 7, "/init", 6)), format, FIRST_FIELD);
  expect("no digest", entry_of(10, "ima-ng", data_of("", 0, "/init", 6)), format, FIRST_FIELD);
  expect("no type", entry_of(10, "ima-ngv2", data_of(DIGEST, 40, "/init", 6)), format, FIRST_FIELD + 2);
  expect("number", entry_of(10, "n-ng|iuid", data_of("/init", 6, "abcde", 5)), format, FIRST_FIELD + 3 + 10);
}

static void expect_flags(const char *what, bytes list, uint32_t algorithm, uint32_t flags) {
  ima_scan s = scan_one_ima(list, SHA1, 0);
  CHECK(s.lists->fault == 0 && s.n_entries, "%s", what);
  CHECK(s.entries[s.n_entries - 1].algorithm == algorithm, "%s: algorithm %u", what, s.entries[0].algorithm);
  CHECK(s.entries[s.n_entries - 1].flags == flags, "%s: flags %u", what, s.entries[s.n_entries - 1].flags);
  free_ima(&s);
  free(list.bytes);
}

static bytes violation(bytes list) {
  memset(list.bytes + 4, 0, 20);
  return list;
}

static bytes twice(bytes list) {
  bytes more = copy(list.bytes, list.size);
  append(&list, more.bytes, more.size);
  free(more.bytes);
  return list;
}

static void check_flags(void) {
  enum { NUL_SHA1_SIZE = 26, MD5 = 1, SHA1_ALGORITHM = 2, SHA256_ALGORITHM = 4, SM3 = 17 };
  expect_flags("sha256", entry_of(10, "ima-ng", NG), SHA256_ALGORITHM, 0);
  expect_flags("sha1", entry_of(10, "ima-ng", data_of("sha1:\0" "01234567890123456789", NUL_SHA1_SIZE, "/i", 3)),
               SHA1_ALGORITHM, PV_IMA_WEAK_HASH);
  expect_flags("early sha1", entry_of(10, "ima-ng", data_of(":\0" "01234567890123456789", 22, "/i", 3)), SHA1_ALGORITHM,
               PV_IMA_WEAK_HASH);
  expect_flags("early md5", entry_of(10, "ima-ng", data_of(":\0" "0123456789012345", 18, "/i", 3)), MD5,
               PV_IMA_WEAK_HASH);
  expect_flags("sm3", entry_of(10, "ima-ng", data_of("sm3:\0" "0123456789abcdef0123456789abcdef", 37, "/i", 3)), SM3, 0);
  expect_flags("sm3-256", entry_of(10, "ima-ng", data_of("sm3-256:\0" "0123456789abcdef0123456789abcdef", 41, "/i", 3)),
               SM3, 0);
  expect_flags("short", entry_of(10, "ima-ng", data_of("sha256:\0" "01234567890123456789", 28, "/i", 3)),
               SHA256_ALGORITHM, PV_IMA_DIGEST_LENGTH);
  expect_flags("short violation",
               violation(entry_of(10, "ima-ng", data_of("sha256:\0" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 28, "/i", 3))),
               SHA256_ALGORITHM, PV_IMA_VIOLATION);
  expect_flags("unknown", entry_of(10, "ima-ng", data_of("sha99:\0" "01234567890123456789", 27, "/i", 3)),
               PV_IMA_NO_ALGORITHM, PV_IMA_UNKNOWN_ALGORITHM);
  expect_flags("verity", entry_of(10, "ima-ngv2", data_of("verity:" DIGEST, 47, "/i", 3)), SHA256_ALGORITHM,
               PV_IMA_VERITY);
  expect_flags("ima", entry_of(10, "ima-ngv2", data_of("ima:" DIGEST, 44, "/i", 3)), SHA256_ALGORITHM, 0);
  expect_flags("boot_aggregate", entry_of(10, "ima-ng", data_of(DIGEST, 40, "boot_aggregate", 15)), SHA256_ALGORITHM,
               PV_IMA_BOOT_AGGREGATE);
  expect_flags("second boot_aggregate", twice(entry_of(10, "ima-ng", data_of(DIGEST, 40, "boot_aggregate", 15))),
               SHA256_ALGORITHM, PV_IMA_BOOT_AGGREGATE | PV_IMA_KEXEC);
  expect_flags("kexec", entry_of(10, "ima-ng", data_of(DIGEST, 40, "kexec_load", 11)), SHA256_ALGORITHM, PV_IMA_KEXEC);
  expect_flags("no digest", entry_of(10, "n-ng|sig", data_of("/i", 3, "", 0)), PV_IMA_NO_ALGORITHM, PV_IMA_NO_DIGEST);
}

/* Numbers that the caller got wrong, or made up, are refused before anything is read. */
static void check_arguments(void) {
  bytes list = twice(entry_of(10, "ima-ng", NG));
  ima_scan s = scan_one_ima(list, SHA1, 0);
  ima_messages m = messages_of(&s, 1, KEY);
  CHECK(m.status == PV_OK && m.n == 1 && m.of[1] == 0, "%d messages", (int)m.n);
  uint8_t digests[2 * 32] = {0}, chains[2 * 32], differs[2];
  uint64_t chain_at[2];
#define CHAINS(pcr, messages, capacity)                                                                          \
  pv_ima_chains(1, s.lists, s.entries, s.n_entries, pcr, SHA256, m.of, digests, messages, 32, 32, chain_at, chains, \
                capacity)
  CHECK(CHAINS(10, 1, 2) == PV_OK && chain_at[1] == 2, "two digests");
  CHECK(CHAINS(11, 1, 2) == PV_OK && chain_at[1] == 0, "another PCR");
  CHECK(CHAINS(10, 0, 2) == PV_BAD_ARGUMENT, "a message that is not there");
  CHECK(CHAINS(10, 1, 1) == PV_NO_ROOM, "one too many");
  s.entries[1].digest_at = (uint32_t)s.binary.size - 19;
  CHECK(pv_ima_mismatch(s.binary.bytes, s.binary_at, 1, s.lists, s.entries, 2, SHA1, m.of, digests, 1, 20, differs) ==
            PV_BAD_ARGUMENT, "a digest past the end");
  free_messages(&m);
  s.entries[1].data_size++;
  m = messages_of(&s, 1, KEY);
  CHECK(m.status == PV_BAD_ARGUMENT, "data past the end");
  free_messages(&m);
  s.lists->n_entries = 3;
  m = messages_of(&s, 1, 0);
  CHECK(m.status == PV_BAD_ARGUMENT, "an entry too many");
  free_messages(&m);
  free_ima(&s);
  free(list.bytes);
}

/* Entries against a set of one name, in blocks of exactly their size; and what no set or table can be. */
static void check_set(void) {
  bytes list = entry_of(10, "ima-ng", NG), other = entry_of(10, "ima-ng", data_of(DIGEST, 40, "/init2", 7));
  append(&list, other.bytes, other.size);
  free(other.bytes);
  ima_scan s = scan_one_ima(list, SHA1, 0);
  bytes path = copy("/init", 5);
  int64_t path_at[2] = {0, 5};
  uint64_t slots[2], members_at[2] = {0, 1}, set_at[2] = {0, 1};
  uint32_t kind = 4 /* SHA-256 */, found[2], number = 0, set_of = 0, members[2];
  uint8_t digest[64] = {0}, outcomes[2];
  memcpy(digest, &DIGEST[8], 32);
  const pv_ima_sets sets = {.paths = path.bytes, .path_at = path_at, .n_paths = 1, .key = KEY, .slots = slots,
                            .n_slots = 2, .members_at = members_at, .kinds = &kind, .digests = digest,
                            .n_members = 1, .set_at = set_at, .n_sets = 1, .numbers = &number, .n_numbers = 1};
#define CHECK_SET()                                                                                                \
  pv_ima_check(s.binary.bytes, s.binary_at, 1, s.lists, s.entries, s.n_entries, &set_of, &sets, outcomes, members)
  CHECK(pv_index_slots(0) == 2 && pv_index_slots(1) == 2 && pv_index_slots(2) == 4 && pv_index_slots(3) == 8, "slots");
  CHECK(pv_index(path.bytes, path_at, 1, KEY, slots, 1) == PV_BAD_ARGUMENT, "too few slots");
  CHECK(pv_index(path.bytes, path_at, 1, KEY, slots, 2) == PV_OK, "index");
  CHECK(CHECK_SET() == PV_OK && outcomes[0] == PV_IMA_OK && outcomes[1] == PV_IMA_ADDED, "%u %u", outcomes[0],
        outcomes[1]);
  CHECK(members[0] == 0 && members[1] == PV_NOT_FOUND, "%u %u", members[0], members[1]);
  digest[31] ^= 1;
  CHECK(CHECK_SET() == PV_OK && outcomes[0] == PV_IMA_CHANGED && members[0] == 0, "%u", outcomes[0]);
  number = 1; /* no member, though its path may say so: nothing is read there */
  members_at[1] = 2;
  CHECK(CHECK_SET() == PV_OK && outcomes[0] == PV_IMA_CHANGED, "%u", outcomes[0]);
  number = 0;
  members_at[1] = 1;
  set_at[1] = 2;
  CHECK(CHECK_SET() == PV_BAD_ARGUMENT, "a set past the end");
  set_at[0] = 3;
  CHECK(CHECK_SET() == PV_BAD_ARGUMENT, "a set that ends before it starts");
  set_at[0] = 0;
  set_at[1] = 1;
  set_of = 1;
  CHECK(CHECK_SET() == PV_OK && outcomes[0] == PV_IMA_NOT_JUDGED && outcomes[1] == PV_IMA_NOT_JUDGED, "no set");
  set_of = 0;
  s.entries[1].path_at = (uint32_t)s.binary.size;
  CHECK(CHECK_SET() == PV_BAD_ARGUMENT, "a name past the end");
  const int64_t items[3] = {0, 5, 5};
  CHECK(pv_find(path.bytes, items, 0, 2, path.bytes, path_at, 1, KEY, slots, 2, found) == PV_OK, "find");
  CHECK(found[0] == 0 && found[1] == PV_NOT_FOUND, "%u %u", found[0], found[1]);
  slots[0] = slots[1] = UINT64_MAX; /* an index that is none ends the search */
  CHECK(pv_find(path.bytes, items, 0, 1, path.bytes, path_at, 1, KEY, slots, 2, found) == PV_OK, "find");
  CHECK(found[0] == PV_NOT_FOUND, "%u", found[0]);
  const int64_t piece = 3;
  const uint32_t size = 3;
  CHECK(pv_collect(path.bytes, 5, &piece, &size, 1, outcomes, 2) == PV_BAD_ARGUMENT, "a piece past the end");
  CHECK(pv_collect(path.bytes, 6, &piece, &size, 1, outcomes, 2) == PV_NO_ROOM, "no room");
  free(path.bytes);
  free_ima(&s);
  free(list.bytes);
}

int main(int argc, char **argv) {
  check_set();
  check_faults();
  check_flags();
  check_arguments();
  for (int i = 1; i < argc; i++) {
    check_prefixes(argv[i]);
  }
  return argc > 1 ? check_result() : 2;
}
