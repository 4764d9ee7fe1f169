/* Every prefix of a log: good where it ends at an entry's boundary, log.truncated at the cut entry everywhere else.
 * Arguments: log files. */
#include "check.h"
#include "logs.h"

/* Where the entry ends that begins at events[i].at. */
static size_t end_of(const scan *whole, uint64_t i) {
  return whole->events[i].data_at + (size_t)whole->events[i].data_size;
}

static void check_prefix(bytes prefix, uint64_t whole_events, size_t cut_entry_at) {
  scan s = scan_one(prefix);
  replay r = replay_one(prefix);
  CHECK(s.status == PV_OK && r.status == PV_OK, "%zu bytes", prefix.size);
  CHECK(s.logs->n_events == whole_events && s.n_events == whole_events, "%zu bytes: %u events", prefix.size,
        s.logs->n_events);
  CHECK(r.logs->fault == s.logs->fault && r.logs->fault_at == s.logs->fault_at, "%zu bytes", prefix.size);
  if (prefix.size == cut_entry_at) {
    CHECK(s.logs->fault == PV_FAULT_NONE, "%zu bytes: fault %u", prefix.size, s.logs->fault);
    CHECK(prefix.size == 0 || !row_is_zero(&r, 0), "%zu bytes", prefix.size);
  } else {
    CHECK(s.logs->fault == PV_FAULT_TRUNCATED, "%zu bytes: fault %u", prefix.size, s.logs->fault);
    CHECK(s.logs->fault_at == cut_entry_at, "%zu bytes: at %d", prefix.size, (int)s.logs->fault_at);
    CHECK(row_is_zero(&r, 0), "%zu bytes", prefix.size);
  }
  free_scan(&s);
  free_replay(&r);
}

static void check_file(const char *path) {
  bytes log = read_file(path);
  scan whole = scan_one(log);
  CHECK(whole.logs->fault == PV_FAULT_NONE && whole.n_events, "%s: fault %u", path, whole.logs->fault);
  uint64_t events = 0; /* whole ones in the prefix */
  for (size_t size = 0; size <= log.size; size++) {
    bytes prefix = copy(log.bytes, size);
    if (events < whole.n_events && end_of(&whole, events) == size) {
      events++;
    }
    check_prefix(prefix, events, events ? end_of(&whole, events - 1) : 0);
    free(prefix.bytes);
  }
  CHECK(events == whole.n_events && end_of(&whole, events - 1) == log.size, "%s: %d events", path, (int)events);
  free_scan(&whole);
  free(log.bytes);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    check_file(argv[i]);
  }
  return argc > 1 ? check_result() : 2;
}
