/* libFuzzer target: any bytes, as one to three logs, through pv_scan and pv_replay. Half of the mutations are of whole
 * entries, so that the framing stands. */
#include "mutate.h"

enum { MAX_LOGS = 3, EV_NO_ACTION = 3 };

/* What cuts the input into logs, so that a plain log is a good seed as it is. */
static const char separator[8] = {'P', 'V', '-', 'N', 'E', 'X', 'T', '!'};

/* Cuts the input in a blob without its separators. Returns how many logs that makes. */
static uint64_t cut(const uint8_t *data, size_t size, bytes *blob, int64_t *offsets) {
  uint64_t n = 0;
  bytes rest = copy(data, size);
  size_t used = 0, kept = 0;
  offsets[0] = 0;
  while (used < size) {
    if (n < MAX_LOGS - 1 && size - used >= sizeof separator && memcmp(data + used, separator, sizeof separator) == 0) {
      offsets[++n] = (int64_t)kept;
      used += sizeof separator;
    } else {
      rest.bytes[kept++] = data[used++];
    }
  }
  offsets[++n] = (int64_t)kept;
  *blob = copy(rest.bytes, kept);
  free(rest.bytes);
  return n;
}

/* Bytes of the digests of an entry from its count on, as the registry has them (SPEC 1.1); 0 where they do not fit. */
static size_t digests_size(const uint8_t *entry, size_t left) {
  static const uint32_t ids[PV_BANKS] = {4, 0xB, 0xC, 0xD, 0x12};
  uint64_t count = little_endian(entry, 4);
  size_t size = 4;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t digest = 0;
    for (uint32_t bank = 0; bank < PV_BANKS && left - size >= 2; bank++) {
      digest = little_endian(entry + size, 2) == ids[bank] ? pv_digest_size(bank) : digest;
    }
    if (!digest || left - size < 2 + digest) {
      return 0;
    }
    size += 2 + digest;
  }
  return size;
}

/* The entries of the logs: those of 32 bytes and data at the start and behind each separator, then crypto-agile ones. */
static size_t find_entries(const uint8_t *data, size_t size, part *parts) {
  size_t n = 0, at = 0;
  int is_first = 1;
  while (n < MOST_PARTS && size - at >= 32) {
    if (memcmp(data + at, separator, sizeof separator) == 0) {
      at += sizeof separator;
      is_first = 1;
      continue;
    }
    size_t fixed = is_first ? 28 : 8 + digests_size(data + at + 8, size - at - 8);
    if (fixed == 8 || size - at - fixed < 4) {
      break;
    }
    uint64_t held = little_endian(data + at + fixed, 4);
    if (held > size - at - fixed - 4) {
      break;
    }
    parts[n] = (part){at, fixed + 4 + (size_t)held, (size_t)held, 4};
    at += parts[n++].size;
    is_first = 0;
  }
  return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  return mutate_parts(data, size, max_size, seed, find_entries, 0);
}

static void check_event(const pv_event *e, uint64_t from, uint64_t size, uint32_t banks) {
  must(e->at >= from && e->at < size);
  must(e->data_at >= e->at + 16 && e->data_at <= size && e->data_size <= size - e->data_at);
  must(e->pcr < PV_PCRS || e->type == EV_NO_ACTION);
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    uint64_t at = e->digest_at[bank];
    if (at != PV_NO_DIGEST) {
      must(banks >> bank & 1 && at > e->at && at + pv_digest_size(bank) <= e->data_at);
    }
  }
}

static void check_log(const pv_log *log, const pv_event *events, uint64_t n_events, uint64_t size) {
  uint64_t end = 0;
  must(log->first_event <= n_events && log->n_events <= n_events - log->first_event);
  must(log->fault <= PV_FAULT_TOO_LARGE && (log->fault == PV_FAULT_NONE) == (pv_fault_code(log->fault) == NULL));
  must(log->format <= PV_FORMAT_TCG2 && log->banks <= ALL_BANKS && (log->incomplete & ~log->banks) == 0);
  must(log->touched >> PV_PCRS == 0 && (log->locality == 0 || log->locality == 3 || log->locality == 4));
  for (uint32_t i = 0; i < log->n_events; i++) {
    const pv_event *e = &events[log->first_event + i];
    must(e->at == end);
    check_event(e, end, size, log->banks);
    end = (uint64_t)e->data_at + e->data_size;
  }
  if (log->fault) {
    must(log->fault_at >= end && log->fault_at < size && log->padding == 0);
  } else {
    must(end + log->padding == size && (log->padding != 0) == (log->notes & PV_NOTE_PADDING));
  }
}

static int same_log(pv_log a, pv_log b) {
  a.first_event = b.first_event; /* depends on the slice */
  return memcmp(&a, &b, sizeof a) == 0;
}

/* One log of the batch, alone in its own block, gives the same events, row and PCR values. */
static void check_alone(const uint8_t *bytes_at, uint64_t size, const scan *whole, const replay *values, uint64_t i) {
  bytes log = copy(bytes_at, size);
  scan s = scan_one(log);
  replay r = replay_one(log);
  must(s.status == PV_OK && r.status == PV_OK);
  must(same_log(*s.logs, whole->logs[i]) && same_log(*r.logs, whole->logs[i]) && same_log(values->logs[i], *s.logs));
  must(memcmp(s.events, whole->events + whole->logs[i].first_event, s.n_events * sizeof(pv_event)) == 0);
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    size_t row = (size_t)PV_PCRS * pv_digest_size(bank);
    must(memcmp(r.values[bank], values->values[bank] + i * row, row) == 0);
  }
  free_scan(&s);
  free_replay(&r);
  free(log.bytes);
}

/* The slice from log `first` on holds the same events as the whole. */
static void check_slice(bytes blob, const int64_t *offsets, uint64_t first, uint64_t n, const scan *whole) {
  scan s = scan_slice(blob.bytes, offsets, first, n);
  must(s.status == PV_OK);
  for (uint64_t i = first; i < n; i++) {
    must(same_log(s.logs[i], whole->logs[i]));
    must(memcmp(s.events + s.logs[i].first_event, whole->events + whole->logs[i].first_event,
                s.logs[i].n_events * sizeof(pv_event)) == 0);
  }
  free_scan(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bytes blob;
  int64_t offsets[MAX_LOGS + 1];
  uint64_t n = cut(data, size, &blob, offsets);
  scan s = scan_slice(blob.bytes, offsets, 0, n);
  replay r = replay_batch(blob.bytes, offsets, n, 0, n);
  must(s.status == PV_OK && r.status == PV_OK && s.n_events <= s.capacity);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t log_size = (uint64_t)(offsets[i + 1] - offsets[i]);
    check_log(&s.logs[i], s.events, s.n_events, log_size);
    must(!s.logs[i].fault || row_is_zero(&r, i));
    check_alone(blob.bytes + offsets[i], log_size, &s, &r, i);
    check_slice(blob, offsets, i, n, &s);
  }
  free_scan(&s);
  free_replay(&r);
  free(blob.bytes);
  return 0;
}
