/* Logs are read, and events that may be what somebody looks for are marked while the log is in cache. */
#include "hunt.h"

#include <string.h>

#include "cpu.h"
#include "eventlog.h"

static int is_set(const uint64_t *filter, uint64_t bit) { return filter[bit >> 6] >> (bit & 63) & 1; }

/* Whether a filter has both bits of the first 8 bytes of a digest. */
static int may_have(const uint64_t *filter, uint32_t bits, uint64_t key, const uint8_t *digest) {
  uint64_t word;
  memcpy(&word, digest, 8);
  word *= key;
  return is_set(filter, word >> (64 - bits)) && is_set(filter, word << bits >> (64 - bits));
}

static void mark_digests(const uint8_t *log, const pv_event *events, uint64_t n_events, uint32_t bank,
                         const pv_filters *filters, uint8_t *marks) {
  for (uint64_t k = 0; k < n_events; k++) {
    uint32_t at = events[k].digest_at[bank];
    marks[k] |= at != PV_NO_DIGEST && may_have(filters->banks[bank], filters->bits, filters->key, log + at);
  }
}

static pv_text_marker *text_marker(void) {
#ifdef PV_HAVE_AVX2
  if (pv_cpu_features() & PV_CPU_AVX2) {
    return pv_mark_texts_avx2;
  }
#endif
  return pv_mark_texts_portable;
}

static int are_sane(const pv_filters *filters, const pv_text *texts, uint64_t n_texts) {
  for (uint64_t i = 0; i < n_texts; i++) {
    if (texts[i].rare >= texts[i].size) {
      return 0;
    }
  }
  return filters->bits >= 6 && filters->bits <= 32;
}

int pv_hunt(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events, const pv_filters *filters, const pv_text *texts,
            uint64_t n_texts, uint8_t *marks) {
  if (!pv_offsets_are_sane(offsets, first, last) || !are_sane(filters, texts, n_texts)) {
    return PV_BAD_ARGUMENT;
  }
  pv_text_marker *mark_texts = text_marker();
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    uint64_t read;
    int status = pv_scan(blob, offsets, i, i + 1, logs, n ? events + n : events, capacity - n, &read);
    if (status != PV_OK) {
      return status;
    }
    logs[i].first_event = n;
    if (!read) { /* no room at all may be NULL */
      continue;
    }
    memset(marks + n, 0, read);
    const uint8_t *log = blob + offsets[i];
    for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
      if (filters->banks[bank] && logs[i].banks >> bank & 1) {
        mark_digests(log, events + n, read, bank, filters, marks + n);
      }
    }
    for (uint64_t t = 0, next; t < n_texts; t = next) {
      for (next = t + 1; next < n_texts && texts[next].bytes[texts[next].rare] == texts[t].bytes[texts[t].rare]; next++) {
      }
      mark_texts(log, (uint64_t)(offsets[i + 1] - offsets[i]), events + n, read, texts + t, next - t, marks + n);
    }
    n += read;
  }
  *n_events = n;
  return PV_OK;
}
