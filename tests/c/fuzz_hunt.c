/* libFuzzer target: hunts in any bytes, for texts and digests that are given first, behind which a mark begins the log.
 * They find the events that a scan finds, and mark those that a plain search does. */
#include "hunt.h"

#include "fuzz.h"

enum { MOST_TEXTS = 4 };

static const char mark[8] = {'P', 'V', '-', 'N', 'E', 'X', 'T', '!'};
static const uint64_t FILTER_KEY = 0x9E3779B97F4A7C15;

/* Texts of up to 15 bytes; those of one rare byte after each other, as callers do, or not. */
static uint64_t take_texts(input *in, bytes *blocks, pv_text *texts) {
  uint64_t n = take_below(in, MOST_TEXTS + 1);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t size = 1 + take_below(in, 15), rare = take_byte(in) % size;
    blocks[i] = (bytes){block(size), size};
    for (uint64_t k = 0; k < size; k++) {
      blocks[i].bytes[k] = take_byte(in);
    }
    texts[i] = (pv_text){blocks[i].bytes, size, rare};
  }
  return n;
}

static int has_text(const uint8_t *data, size_t size, const pv_text *texts, uint64_t n) {
  int has = 0;
  for (uint64_t i = 0; i < n; i++) {
    has |= find_bytes(data, size, (const char *)texts[i].bytes, (size_t)texts[i].size) != size;
  }
  return has;
}

static int may_match(const pv_filters *filters, const pv_event *e, const uint8_t *log) {
  int may = 0;
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    if (filters->banks[bank] && e->digest_at[bank] != PV_NO_DIGEST) {
      uint64_t word = 0;
      for (unsigned i = 0; i < 8; i++) {
        word |= (uint64_t)log[e->digest_at[bank] + i] << (8 * i);
      }
      word *= filters->key;
      uint64_t one = word >> (64 - filters->bits), other = word << filters->bits >> (64 - filters->bits);
      const uint64_t *words = filters->banks[bank];
      may |= (words[one / 64] >> (one % 64) & 1) && (words[other / 64] >> (other % 64) & 1);
    }
  }
  return may;
}

static void check_hunt(bytes log, const pv_filters *filters, const pv_text *texts, uint64_t n_texts) {
  const int64_t offsets[2] = {0, (int64_t)log.size};
  scan s = scan_one(log);
  scan h = {.capacity = s.capacity, .logs = (pv_log *)(void *)block(sizeof(pv_log))};
  h.events = (pv_event *)(void *)block(h.capacity * sizeof *h.events);
  uint8_t *marks = block(h.capacity), *portable = block(h.capacity);
  must(pv_hunt(log.bytes, offsets, 0, 1, h.logs, h.events, h.capacity, &h.n_events, filters, texts, n_texts, marks) ==
       PV_OK);
  must(h.n_events == s.n_events && memcmp(h.logs, s.logs, sizeof *s.logs) == 0);
  must(memcmp(h.events, s.events, (size_t)s.n_events * sizeof *s.events) == 0);
  memset(portable, 0, h.capacity);
  for (uint64_t i = 0; i < n_texts; i++) {
    pv_mark_texts_portable(log.bytes, log.size, s.events, s.n_events, &texts[i], 1, portable);
  }
  for (uint64_t k = 0; k < s.n_events; k++) {
    const pv_event *e = &s.events[k];
    int has = has_text(log.bytes + e->data_at, e->data_size, texts, n_texts);
    must(portable[k] == has && marks[k] == (has || may_match(filters, e, log.bytes)));
  }
  free(marks);
  free(portable);
  free_scan(&s);
  free_scan(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t cut = find_bytes(data, size, mark, sizeof mark);
  input in = {data, cut};
  bytes log = cut < size ? copy(data + cut + sizeof mark, size - cut - sizeof mark) : copy(data, size);
  bytes blocks[MOST_TEXTS];
  pv_text texts[MOST_TEXTS];
  uint64_t filter[4] = {0};
  pv_filters filters = {.key = FILTER_KEY, .bits = 6 + take_below(&in, 3)};
  uint32_t banks = take_byte(&in);
  for (uint32_t i = 0; i < (1u << filters.bits) / 64; i++) {
    filter[i] = take_number(&in);
  }
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    filters.banks[bank] = banks >> bank & 1 ? filter : NULL;
  }
  uint64_t n = take_texts(&in, blocks, texts);
  check_hunt(log, &filters, texts, n);
  for (uint64_t i = 0; i < n; i++) {
    free(blocks[i].bytes);
  }
  free(log.bytes);
  return 0;
}
