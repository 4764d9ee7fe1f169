/* Hunts: the same events as a scan, and marks that a plain search agrees with. Arguments: log files. */
#include "hunt.h"

#include "check.h"
#include "logs.h"

static const uint64_t KEY_OF_FILTERS = 0x9E3779B97F4A7C15;

static int has(const uint8_t *data, uint64_t size, const pv_text *t) {
  for (uint64_t at = 0; at + t->size <= size; at++) {
    if (memcmp(data + at, t->bytes, t->size) == 0) {
      return 1;
    }
  }
  return 0;
}

typedef struct {
  int status;
  pv_log row;
  pv_event *events;
  uint8_t *marks;
  uint64_t n_events;
} hunted;

static hunted hunt_one(bytes log, const pv_filters *filters, const pv_text *texts, uint64_t n_texts) {
  int64_t offsets[2] = {0, (int64_t)log.size};
  uint64_t capacity = pv_scan_capacity(offsets, 0, 1);
  hunted h = {.events = (pv_event *)(void *)block(capacity * sizeof(pv_event)), .marks = block(capacity)};
  h.status = pv_hunt(log.bytes, offsets, 0, 1, &h.row, h.events, capacity, &h.n_events, filters, texts, n_texts, h.marks);
  return h;
}

static void free_hunted(hunted *h) {
  free(h->events);
  free(h->marks);
}

static void check_marks(const char *isa, bytes log, const scan *s, const uint8_t *marks, const pv_text *texts,
                        uint64_t n_texts) {
  for (uint64_t k = 0; k < s->n_events; k++) {
    int wanted = 0;
    for (uint64_t t = 0; t < n_texts; t++) {
      wanted |= has(log.bytes + s->events[k].data_at, s->events[k].data_size, &texts[t]);
    }
    CHECK(marks[k] == wanted, "%s: event %d, text of %d bytes", isa, (int)k, (int)texts->size);
  }
}

/* The portable marker, and the one that this machine has chosen. */
static void check_texts(bytes log, const scan *s, const pv_text *texts, uint64_t n_texts) {
  const pv_filters none = {.key = 1, .bits = 6};
  hunted h = hunt_one(log, &none, texts, n_texts);
  CHECK(h.status == PV_OK && h.n_events == s->n_events, "%d", h.status);
  check_marks("chosen", log, s, h.marks, texts, n_texts);
  memset(h.marks, 0, s->n_events);
  pv_mark_texts_portable(log.bytes, log.size, s->events, s->n_events, texts, n_texts, h.marks);
  check_marks("portable", log, s, h.marks, texts, n_texts);
  free_hunted(&h);
}

/* Pieces of the data of events, of many sizes and with the rare byte at any place; and near misses. */
static void check_pieces(bytes log, const scan *s) {
  for (uint64_t k = 0; k < s->n_events; k++) {
    const pv_event *e = &s->events[k];
    for (uint64_t size = 1; size <= e->data_size; size = size * 3 + 1) {
      uint64_t place = (e->data_size - size) * (k % 4) / 3;
      uint64_t rare = size * (k % 5) / 5;
      bytes near_miss = copy(log.bytes + e->data_at + place, size);
      near_miss.bytes[size - 1 - rare / 2] ^= 1;
      pv_text texts[2] = {{log.bytes + e->data_at + place, size, rare}, {near_miss.bytes, size, rare}};
      check_texts(log, s, texts, near_miss.bytes[rare] == texts[0].bytes[rare] ? 2 : 1);
      free(near_miss.bytes);
    }
  }
}

static void set(uint64_t *filter, uint32_t bits, const uint8_t *digest) {
  uint64_t word;
  memcpy(&word, digest, 8);
  word *= KEY_OF_FILTERS;
  filter[word >> (64 - bits) >> 6] |= (uint64_t)1 << (word >> (64 - bits) & 63);
  filter[word << bits >> (64 - bits) >> 6] |= (uint64_t)1 << (word << bits >> (64 - bits) & 63);
}

static void check_digests(bytes log, const scan *s) {
  enum { BITS = 12 };
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    for (uint64_t k = 0; k < s->n_events; k += 7) {
      if (s->events[k].digest_at[bank] == PV_NO_DIGEST) {
        continue;
      }
      uint64_t filter[(1 << BITS) / 64] = {0};
      const uint8_t *digest = log.bytes + s->events[k].digest_at[bank];
      set(filter, BITS, digest);
      pv_filters filters = {.key = KEY_OF_FILTERS, .bits = BITS};
      filters.banks[bank] = filter;
      hunted h = hunt_one(log, &filters, NULL, 0);
      CHECK(h.status == PV_OK && h.n_events == s->n_events, "%d", h.status);
      CHECK(memcmp(h.events, s->events, (size_t)s->n_events * sizeof(pv_event)) == 0, "other events");
      CHECK(h.row.fault == s->logs->fault && h.row.notes == s->logs->notes, "another row");
      for (uint64_t i = 0; i < h.n_events; i++) {
        uint32_t at = s->events[i].digest_at[bank];
        int same = at != PV_NO_DIGEST && memcmp(log.bytes + at, digest, 8) == 0;
        CHECK(!same || h.marks[i] == 1, "bank %u: event %d is not marked", bank, (int)i);
        CHECK(at != PV_NO_DIGEST || h.marks[i] == 0, "bank %u: event %d has no digest", bank, (int)i);
      }
      free_hunted(&h);
    }
  }
}

static void check_arguments(bytes log) {
  uint64_t filter[1] = {0};
  pv_filters filters = {.banks = {filter}, .key = 1, .bits = 6};
  pv_text good = {log.bytes, 4, 3}, bad = {log.bytes, 4, 4}, empty = {log.bytes, 0, 0};
  struct {
    uint32_t bits;
    const pv_text *text;
    int status;
  } cases[] = {{6, &good, PV_OK}, {5, &good, PV_BAD_ARGUMENT}, {33, &good, PV_BAD_ARGUMENT}, {6, &bad, PV_BAD_ARGUMENT},
               {6, &empty, PV_BAD_ARGUMENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    filters.bits = cases[i].bits;
    hunted h = hunt_one(log, &filters, cases[i].text, 1);
    CHECK(h.status == cases[i].status, "case %d: %d", (int)i, h.status);
    free_hunted(&h);
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    bytes log = read_file(argv[i]);
    scan s = scan_one(log);
    check_pieces(log, &s);
    check_digests(log, &s);
    check_arguments(log);
    free_scan(&s);
    free(log.bytes);
  }
  return argc > 1 ? check_result() : 2;
}
