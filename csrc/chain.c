/* From event rows to chains: counts, then copies; it trusts nothing of the scan but re-checks every bound. */
#include "chain.h"

#include "reader.h"

static int extends(const pv_event *e, uint32_t bank) {
  return e->type != EV_NO_ACTION && e->digest_at[bank] != PV_NO_DIGEST && e->pcr < PV_PCRS;
}

/* One log's digests of `size` bytes to their chains. Called with constant sizes, so that the copy is a few moves. */
static inline int scatter(const uint8_t *log, uint64_t log_size, const pv_event *events, uint32_t n, uint32_t bank,
                          uint64_t *next, uint8_t *digests, uint64_t size) {
  for (uint32_t i = 0; i < n; i++) {
    const pv_event *e = &events[i];
    if (!extends(e, bank)) {
      continue;
    }
    if (size > log_size || e->digest_at[bank] > log_size - size) {
      return PV_BAD_ARGUMENT;
    }
    memcpy(digests + next[e->pcr]++ * size, log + e->digest_at[bank], size);
  }
  return PV_OK;
}

int pv_gather(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, const pv_log *logs,
              const pv_event *events, uint32_t bank, uint64_t *chain_at, uint8_t *digests, uint64_t capacity) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++, logs++, chain_at += PV_PCRS) {
    uint64_t counts[PV_PCRS] = {0}, next[PV_PCRS];
    const pv_event *own = events + logs->first_event;
    uint32_t n_events = logs->fault || !(logs->banks >> bank & 1) ? 0 : logs->n_events;
    for (uint32_t k = 0; k < n_events; k++) {
      if (extends(&own[k], bank)) {
        counts[own[k].pcr]++;
      }
    }
    for (unsigned pcr = 0; pcr < PV_PCRS; pcr++) {
      chain_at[pcr] = next[pcr] = n;
      n += counts[pcr];
    }
    if (n > capacity) {
      return PV_NO_ROOM;
    }
    const uint8_t *log = blob + offsets[i];
    uint64_t size = (uint64_t)(offsets[i + 1] - offsets[i]);
    int status;
    switch (pv_digest_size(bank)) {
      case 20: status = scatter(log, size, own, n_events, bank, next, digests, 20); break;
      case 32: status = scatter(log, size, own, n_events, bank, next, digests, 32); break;
      case 48: status = scatter(log, size, own, n_events, bank, next, digests, 48); break;
      case 64: status = scatter(log, size, own, n_events, bank, next, digests, 64); break;
      default: status = PV_BAD_ARGUMENT;
    }
    if (status != PV_OK) {
      return status;
    }
  }
  *chain_at = n;
  return PV_OK;
}
