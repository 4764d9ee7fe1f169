/* Every fault and every note, each from a small change to a good log. Argument: kat_log.bin.
 * The log of SPEC 11.2: header 0-68 (algorithm count at 56, list at 60, vendorInfoSize at 68), StartupLocality at 69,
 * EV_S_CRTM_VERSION in PCR 0 at 170 (digest count at 178, algorithms at 182 and 216, data size at 250), end 818. */
#include "check.h"
#include "logs.h"

enum {
  HEADER_SIZE = 69,
  EV_NO_ACTION = 3,
  EV_SEPARATOR = 4,
  EV_S_CRTM_VERSION = 8,
  EV_EFI_HCRTM_EVENT = (int)0x80000010,
  NV_INDEX = 0x01C40200,
};

static void expect_fault(const char *name, bytes log, enum pv_fault fault, uint64_t at) {
  scan s = scan_one(log);
  replay r = replay_one(log);
  CHECK(s.status == PV_OK && r.status == PV_OK, "%s", name);
  CHECK(s.logs->fault == (uint32_t)fault && s.logs->fault_at == at, "%s: fault %u at %d", name, s.logs->fault,
        (int)s.logs->fault_at);
  CHECK(r.logs->fault == (uint32_t)fault && r.logs->fault_at == at, "%s: replay says %u", name, r.logs->fault);
  CHECK(!fault || row_is_zero(&r, 0), "%s: values beside a fault", name);
  free_scan(&s);
  free_replay(&r);
}

/* `n` bytes of the log overwritten at `at`. */
#define EDIT(at, text) at, sizeof(text) - 1, text

static const struct {
  const char *name;
  size_t at, n;
  const char *text;
  enum pv_fault fault;
  uint64_t fault_at;
} edits[] = {
    {"unchanged", EDIT(0, ""), PV_FAULT_NONE, 0},
    {"digest count 2^32-1", EDIT(178, "\xFF\xFF\xFF\xFF"), PV_FAULT_DIGESTS, 178},
    {"digest count one too many", EDIT(178, "\3"), PV_FAULT_DIGESTS, 178},
    {"digest algorithm not listed", EDIT(182, "\x0C"), PV_FAULT_DIGESTS, 182},
    {"digest algorithm repeated", EDIT(216, "\x0B"), PV_FAULT_DIGESTS, 216},
    {"data size 2^32-1", EDIT(250, "\xFF\xFF\xFF\xFF"), PV_FAULT_EVENT_SIZE, 250},
    {"data size past the end, implausible", EDIT(250, "\x01\x00\x10\x00"), PV_FAULT_EVENT_SIZE, 250},
    {"data size past the end, plausible", EDIT(250, "\x00\x00\x10\x00"), PV_FAULT_TRUNCATED, 170},
    {"PCR 24", EDIT(170, "\x18"), PV_FAULT_PCR_INDEX, 170},
    {"PCR 2^32-1 in an extended event", EDIT(170, "\xFF\xFF\xFF\xFF"), PV_FAULT_PCR_INDEX, 170},
    {"NV index in an extended event", EDIT(170, "\x00\x02\xC4\x01"), PV_FAULT_PCR_INDEX, 170},
    {"NV index in EV_NO_ACTION", EDIT(69, "\x00\x02\xC4\x01"), PV_FAULT_NONE, 0},
    {"PCR 2^32-1 in EV_NO_ACTION", EDIT(69, "\xFF\xFF\xFF\xFF"), PV_FAULT_NONE, 0},
    {"PCR 24 in EV_NO_ACTION", EDIT(69, "\x18"), PV_FAULT_PCR_INDEX, 69},
    {"no algorithms", EDIT(56, "\0"), PV_FAULT_ALGORITHMS, 56},
    {"more algorithms than data", EDIT(56, "\x10"), PV_FAULT_ALGORITHMS, 56},
    {"17 algorithms", EDIT(56, "\x11"), PV_FAULT_ALGORITHMS, 56},
    {"2^32-1 algorithms", EDIT(56, "\xFF\xFF\xFF\xFF"), PV_FAULT_ALGORITHMS, 56},
    {"algorithm twice", EDIT(64, "\x0B"), PV_FAULT_ALGORITHMS, 64},
    {"SHA-256 of 20 bytes", EDIT(62, "\x14"), PV_FAULT_ALGORITHMS, 62},
    {"SHA-256 of 0 bytes", EDIT(62, "\0"), PV_FAULT_ALGORITHMS, 62},
    {"SHA-256 of 65535 bytes", EDIT(62, "\xFF\xFF"), PV_FAULT_ALGORITHMS, 62},
    {"unknown algorithm of 0 bytes", EDIT(64, "\x27\0\0"), PV_FAULT_ALGORITHMS, 66},
    {"unknown algorithm of 65 bytes", EDIT(64, "\x27\0\x41"), PV_FAULT_ALGORITHMS, 66},
    {"vendor info past the header", EDIT(68, "\1"), PV_FAULT_HEADER, 68},
    {"bytes after the vendor info", EDIT(28, "\x26"), PV_FAULT_HEADER, 68},
    {"header too short for its list", EDIT(28, "\x1C"), PV_FAULT_HEADER, 28},
    {"header digest", EDIT(27, "\1"), PV_FAULT_HEADER, 8},
    {"header type", EDIT(4, "\x08"), PV_FAULT_HEADER, 4},
    {"header in PCR 1: a confidential-computing log", EDIT(0, "\1"), PV_FAULT_NOT_A_LOG, 0},
    {"header in PCR 2", EDIT(0, "\2"), PV_FAULT_HEADER, 0},
    {"header in PCR 24", EDIT(0, "\x18"), PV_FAULT_NOT_A_LOG, 0},
    {"version 1.0", EDIT(53, "\1"), PV_FAULT_HEADER, 52},
    {"version 2.1", EDIT(52, "\1"), PV_FAULT_HEADER, 52},
    {"errata do not matter", EDIT(54, "\xFF"), PV_FAULT_NONE, 0},
};

static void test_edits(bytes good) {
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    bytes log = copy(good.bytes, good.size);
    memcpy(log.bytes + edits[i].at, edits[i].text, edits[i].n);
    expect_fault(edits[i].name, log, edits[i].fault, edits[i].fault_at);
    free(log.bytes);
  }
}

/* SPEC 2.4: bytes after the last event, `n` of `fill` and then a text. */
static void test_tails(bytes good) {
#define TAIL(text) sizeof(text) - 1, text
  static const struct {
    const char *name;
    size_t n;
    uint8_t fill;
    size_t text_size;
    const char *text;
    enum pv_fault fault;
    uint64_t fault_at;
  } tails[] = {
      {"zeros", 16, 0, TAIL(""), PV_FAULT_NONE, 0},
      {"fewer zeros than an entry takes", 8, 0, TAIL(""), PV_FAULT_NONE, 0},
      {"many zeros", 60000, 0, TAIL(""), PV_FAULT_NONE, 0},
      {"ones", 8, 0xFF, TAIL(""), PV_FAULT_NONE, 0},
      {"many ones", 60000, 0xFF, TAIL(""), PV_FAULT_NONE, 0},
      {"too few zeros to be padding", 7, 0, TAIL(""), PV_FAULT_TRUNCATED, 818},
      {"too few ones to be padding", 7, 0xFF, TAIL(""), PV_FAULT_TRUNCATED, 818},
      {"ones, then a zero", 100, 0xFF, TAIL("\0"), PV_FAULT_TRAILING, 918},
      {"zeros, then ones", 100, 0, TAIL("\xFF\xFF"), PV_FAULT_TRAILING, 918},
      {"garbage after ones", 16, 0xFF, TAIL("garbage"), PV_FAULT_TRAILING, 834},
      {"garbage after zeros", 16, 0, TAIL("garbage"), PV_FAULT_TRAILING, 834},
      {"garbage at once", 0, 0, TAIL("garbage!"), PV_FAULT_PCR_INDEX, 818},
      {"two bytes", 0, 0, TAIL("ok"), PV_FAULT_TRUNCATED, 818},
  };
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
    bytes log = copy(good.bytes, good.size);
    uint8_t *padding = block(tails[i].n);
    memset(padding, tails[i].fill, tails[i].n);
    append(&log, padding, tails[i].n);
    append(&log, tails[i].text, tails[i].text_size);
    expect_fault(tails[i].name, log, tails[i].fault, tails[i].fault_at);
    scan s = scan_one(log);
    CHECK(s.logs->n_events == 8, "%s: %u events", tails[i].name, s.logs->n_events);
    CHECK(tails[i].fault || (s.logs->padding == tails[i].n && s.logs->notes == PV_NOTE_PADDING), "%s", tails[i].name);
    free_scan(&s);
    free(padding);
    free(log.bytes);
  }
  /* Another log after the padding. */
  bytes log = copy(good.bytes, good.size);
  append(&log, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8);
  append(&log, good.bytes, good.size);
  expect_fault("a second log after ones", log, PV_FAULT_TRAILING, 826);
  free(log.bytes);
}

static void test_no_logs(void) {
  static const char cel[] = "\0\0\0\0\1\0\1\0\0\0\1\0\3\0\0\0\x26\4\0\0\0\x14";
  static const char text[] = "10 91f34b5c671d73504b274a919661cf80dab1e127 ima-ng sha1:1801e1be3e65ef1eaa5c16617bec8f1274eaf6b3";
  static const uint8_t zeros[64], few[5] = {0, 0, 0, 0, 3};
  uint8_t ones[64];
  memset(ones, 0xFF, sizeof ones);
  const struct {
    const char *name;
    const void *data;
    size_t size;
    enum pv_fault fault;
  } cases[] = {
      {"Canonical Event Log, TLV form", cel, sizeof cel - 1, PV_FAULT_NOT_A_LOG},
      {"text", text, sizeof text - 1, PV_FAULT_NOT_A_LOG},
      {"one word", "none", 4, PV_FAULT_NOT_A_LOG},
      {"zeros", zeros, sizeof zeros, PV_FAULT_NOT_A_LOG},
      {"ones", ones, sizeof ones, PV_FAULT_NOT_A_LOG},
      {"five bytes of a header", few, sizeof few, PV_FAULT_TRUNCATED},
      {"nothing", "", 0, PV_FAULT_NONE},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bytes log = copy(cases[i].data, cases[i].size);
    expect_fault(cases[i].name, log, cases[i].fault, 0);
    scan s = scan_one(log);
    CHECK(s.logs->n_events == 0 && s.logs->banks == 0, "%s", cases[i].name);
    free_scan(&s);
    free(log.bytes);
  }
}

/* An entry for the two banks of the good log, digests filled with one byte. */
static void append_entry(bytes *log, uint32_t pcr, uint32_t type, int digest, const void *data, uint32_t size) {
  uint8_t fill[32];
  memset(fill, digest, sizeof fill);
  append_le32(log, pcr);
  append_le32(log, type);
  append_le32(log, 2);
  append(log, "\x0B\0", 2);
  append(log, fill, 32);
  append(log, "\x12\0", 2);
  append(log, fill, 32);
  append_le32(log, size);
  append(log, data, size);
}

static void test_limits(bytes good) {
  /* The smallest entry: PCR 1, a type, no digests, no data. */
  static const uint8_t smallest[16] = {1, 0, 0, 0, EV_S_CRTM_VERSION};
  const size_t most = PV_MAX_EVENTS - 1; /* beside the header */
  bytes log = {block(HEADER_SIZE + (most + 1) * sizeof smallest), HEADER_SIZE + most * sizeof smallest};
  memcpy(log.bytes, good.bytes, HEADER_SIZE);
  for (size_t i = 0; i <= most; i++) {
    memcpy(log.bytes + HEADER_SIZE + i * sizeof smallest, smallest, sizeof smallest);
  }
  expect_fault("200,000 events", log, PV_FAULT_NONE, 0);
  uint64_t end = log.size;
  log.size += sizeof smallest;
  expect_fault("200,001 events", log, PV_FAULT_TOO_LARGE, end);
  free(log.bytes);

  bytes large = {calloc(PV_MAX_LOG_SIZE + 1, 1), PV_MAX_LOG_SIZE + 1};
  const int64_t offsets[2] = {0, PV_MAX_LOG_SIZE + 1};
  scan s = scan_slice(large.bytes, offsets, 0, 1);
  CHECK(s.status == PV_OK && s.logs->fault == PV_FAULT_TOO_LARGE && s.logs->fault_at == PV_MAX_LOG_SIZE, "64 MiB + 1");
  free_scan(&s);
  free(large.bytes);
}

/* Events that make a note: type and data of up to three, after the header of the good log. */
#define LOCALITY(value) "StartupLocality\0" value
#define DATA(text) sizeof(text) - 1, text

typedef struct {
  uint32_t pcr, type;
  int digest;
  uint32_t size;
  const char *data;
} event;

static const struct {
  const char *name;
  uint32_t n;
  event events[3];
  uint32_t notes, locality;
} noted[] = {
    {"locality 3", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}}, 0, 3},
    {"locality 0", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\0"))}}, 0, 0},
    {"locality late",
     2,
     {{0, EV_S_CRTM_VERSION, 1, DATA("1")}, {0, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}},
     PV_NOTE_START_LATE,
     0},
    {"locality after another PCR's event",
     2,
     {{1, EV_SEPARATOR, 1, DATA("\0\0\0\0")}, {0, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}},
     0,
     3},
    {"locality twice",
     2,
     {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}, {0, EV_NO_ACTION, 0, DATA(LOCALITY("\4"))}},
     PV_NOTE_START_DUPLICATE,
     3},
    {"locality in PCR 1", 1, {{1, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}}, PV_NOTE_START_PCR, 0},
    {"locality 1", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\1"))}}, PV_NOTE_START_VALUE, 0},
    {"locality without a value", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY(""))}}, PV_NOTE_START_VALUE, 0},
    {"locality of two bytes", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\3\0"))}}, PV_NOTE_START_VALUE, 0},
    {"locality 4 without H-CRTM", 1, {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\4"))}}, PV_NOTE_START_CONTRADICTION, 4},
    {"locality 4 with H-CRTM",
     2,
     {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\4"))}, {0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}},
     0,
     4},
    {"locality 3 with H-CRTM",
     2,
     {{0, EV_NO_ACTION, 0, DATA(LOCALITY("\3"))}, {0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}},
     PV_NOTE_START_CONTRADICTION,
     3},
    {"H-CRTM alone", 1, {{0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}}, 0, 4},
    {"H-CRTM twice",
     2,
     {{0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}, {0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}},
     PV_NOTE_START_DUPLICATE,
     4},
    {"H-CRTM late",
     2,
     {{0, EV_S_CRTM_VERSION, 1, DATA("1")}, {0, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}},
     PV_NOTE_START_LATE,
     0},
    {"H-CRTM in PCR 2", 1, {{2, (uint32_t)EV_EFI_HCRTM_EVENT, 1, DATA("HCRTM")}}, PV_NOTE_START_PCR, 0},
    {"duplicate header", 1, {{0, EV_NO_ACTION, 0, DATA("Spec ID Event03\0")}}, PV_NOTE_DUPLICATE_HEADER, 0},
    {"EV_NO_ACTION with a digest", 1, {{0, EV_NO_ACTION, 1, DATA("x")}}, PV_NOTE_NO_ACTION_DIGEST, 0},
    {"NV record with a digest", 1, {{NV_INDEX, EV_NO_ACTION, 1, DATA("x")}}, 0, 0},
};

static void test_notes(bytes good) {
  for (size_t i = 0; i < sizeof noted / sizeof *noted; i++) {
    bytes log = copy(good.bytes, HEADER_SIZE);
    for (uint32_t k = 0; k < noted[i].n; k++) {
      const event *e = &noted[i].events[k];
      append_entry(&log, e->pcr, e->type, e->digest, e->data, e->size);
    }
    scan s = scan_one(log);
    replay r = replay_one(log);
    CHECK(s.logs->fault == PV_FAULT_NONE && s.logs->n_events == noted[i].n + 1, "%s: fault %u", noted[i].name,
          s.logs->fault);
    CHECK(s.logs->notes == noted[i].notes, "%s: notes %u", noted[i].name, s.logs->notes);
    CHECK(s.logs->locality == noted[i].locality, "%s: locality %u", noted[i].name, s.logs->locality);
    CHECK(s.logs->touched & 1 || pcr_value(&r, 0, 1, 0)[31] == noted[i].locality, "%s: start value", noted[i].name);
    free_scan(&s);
    free_replay(&r);
    free(log.bytes);
  }
}

/* Digests that are missing, and a listed bank that is not known. */
static void test_incomplete(bytes good) {
  static const uint8_t one_digest[12 + 34 + 4] = {1, 0, 0, 0, EV_SEPARATOR, 0, 0, 0, 1, 0, 0, 0, 0x0B};
  bytes log = copy(good.bytes, good.size);
  append(&log, one_digest, sizeof one_digest);
  scan s = scan_one(log);
  CHECK(s.logs->fault == PV_FAULT_NONE && s.logs->notes == PV_NOTE_MISSING_DIGEST, "notes %u", s.logs->notes);
  CHECK(s.logs->incomplete == 1u << 4 && s.events[8].digest_at[4] == PV_NO_DIGEST, "banks %u", s.logs->incomplete);
  free_scan(&s);

  log.size = good.size; /* SM3 becomes an algorithm that is not known, in the header and in every event */
  s = scan_one(log);
  log.bytes[64] = 0x27;
  for (uint64_t i = 1; i < s.n_events; i++) {
    log.bytes[s.events[i].digest_at[4] - 2] = 0x27;
  }
  free_scan(&s);
  s = scan_one(log);
  CHECK(s.logs->fault == PV_FAULT_NONE && s.logs->notes == PV_NOTE_UNKNOWN_ALGORITHM, "notes %u", s.logs->notes);
  CHECK(s.logs->banks == 1u << 1 && s.logs->n_events == 8 && s.logs->incomplete == 0, "banks %u", s.logs->banks);
  free_scan(&s);
  free(log.bytes);
}

/* The SHA-1 form: no Spec ID event of version 03, or none at all (SPEC 2.1). */
static void test_legacy(void) {
  static const uint8_t no_digest[20] = {0}, digest[20] = {1};
  bytes log = copy("", 0);
  append_le32(&log, 0);
  append_le32(&log, EV_NO_ACTION);
  append(&log, no_digest, 20);
  append_le32(&log, 17);
  append(&log, LOCALITY("\3"), 17);
  append_le32(&log, 0);
  append_le32(&log, EV_S_CRTM_VERSION);
  append(&log, digest, 20);
  append_le32(&log, 0);
  scan s = scan_one(log);
  CHECK(s.logs->fault == PV_FAULT_NONE && s.logs->format == PV_FORMAT_TCG1 && s.logs->n_events == 2, "SHA-1 form");
  CHECK(s.logs->banks == 1 && s.logs->locality == 3 && s.logs->notes == 0, "SHA-1 form");
  CHECK(s.events[1].digest_at[0] == 49 + 8 && s.events[1].digest_at[1] == PV_NO_DIGEST, "SHA-1 form");
  free_scan(&s);
  log.bytes[49 + 28] = 1;
  expect_fault("SHA-1 form, cut", log, PV_FAULT_TRUNCATED, 49);
  log.bytes[49 + 31] = 0xFF;
  expect_fault("SHA-1 form, data size", log, PV_FAULT_EVENT_SIZE, 49 + 28);
  log.bytes[49] = 24;
  expect_fault("SHA-1 form, PCR 24", log, PV_FAULT_PCR_INDEX, 49);
  free(log.bytes);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    return 2;
  }
  bytes good = read_file(argv[1]);
  test_edits(good);
  test_tails(good);
  test_no_logs();
  test_limits(good);
  test_notes(good);
  test_incomplete(good);
  test_legacy();
  free(good.bytes);
  for (uint32_t fault = PV_FAULT_NONE; fault <= PV_FAULT_TOO_LARGE; fault++) {
    const char *code = pv_fault_code(fault);
    CHECK(fault ? code && strncmp(code, "log.", 4) == 0 : !code, "fault %u", fault);
  }
  CHECK(pv_fault_code(PV_FAULT_TOO_LARGE + 1) == NULL, "a number that is no fault");
  return check_result();
}
