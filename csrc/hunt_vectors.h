/* The template of pv_text_marker: the file that includes it says what a vector of WIDTH bytes is, and how EQUAL_BITS gets
 * a bit for each byte of it that equals another.
 *
 * Only event data is read, a quarter of a usual log. It is short: a vector may reach past it, and what lies there does not
 * count. */
#include <string.h>

#include "hunt.h"

/* Whether one of the texts, with its rare byte at `at`, lies within the data [begin, end) of an event. */
static int is_one_of(const uint8_t *log, uint64_t begin, uint64_t end, uint64_t at, const pv_text *texts,
                     uint64_t n_texts) {
  for (uint64_t i = 0; i < n_texts; i++) {
    const pv_text *t = &texts[i];
    if (t->rare <= at - begin && t->size - t->rare <= end - at) {
      const uint8_t *here = log + at - t->rare;
      if (here[0] == t->bytes[0] && here[t->size - 1] == t->bytes[t->size - 1] && memcmp(here, t->bytes, t->size) == 0) {
        return 1;
      }
    }
  }
  return 0;
}

static int has_one_of(const uint8_t *log, uint64_t size, uint64_t begin, uint64_t end, VEC rare, const pv_text *texts,
                      uint64_t n_texts) {
  uint64_t at = begin;
  for (; at < end && WIDTH <= size - at; at += WIDTH) {
    for (uint32_t bits = EQUAL_BITS(log + at, rare); bits; bits &= bits - 1) {
      uint64_t found = at + (uint64_t)__builtin_ctz(bits);
      if (found >= end) {
        return 0;
      }
      if (is_one_of(log, begin, end, found, texts, n_texts)) {
        return 1;
      }
    }
  }
  for (; at < end; at++) { /* a vector would reach past the log */
    if (is_one_of(log, begin, end, at, texts, n_texts)) {
      return 1;
    }
  }
  return 0;
}

void MARK_TEXTS(const uint8_t *log, uint64_t size, const pv_event *events, uint64_t n_events, const pv_text *texts,
                uint64_t n_texts, uint8_t *marks) {
  VEC rare = SET1(texts->bytes[texts->rare]);
  uint64_t shortest = texts->size;
  for (uint64_t i = 1; i < n_texts; i++) {
    shortest = texts[i].size < shortest ? texts[i].size : shortest;
  }
  for (uint64_t k = 0; k < n_events; k++) {
    uint64_t begin = events[k].data_at, n = events[k].data_size;
    if (n >= shortest && has_one_of(log, size, begin, begin + n, rare, texts, n_texts)) {
      marks[k] = 1;
    }
  }
}
