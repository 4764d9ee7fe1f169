/* TCG event logs (SPEC 2): the walk over whole logs, bytes in, event rows out. */
#include "eventlog.h"

#include "reader.h"

static const char *const fault_codes[] = {
    NULL,          "log.not-a-log",  "log.truncated", "log.header",   "log.algorithms",
    "log.digests", "log.event-size", "log.pcr-index", "log.trailing", "log.too-large",
};

const char *pv_fault_code(uint32_t fault) {
  return fault < sizeof fault_codes / sizeof *fault_codes ? fault_codes[fault] : NULL;
}

/* StartupLocality decides how PCR 0 starts. It counts once, in PCR 0, before PCR 0 is extended (SPEC 3.2, 4.2). */
static void read_locality(pv_reader *r, uint32_t pcr, const uint8_t *data, uint64_t size) {
  if (pcr != 0) {
    r->row->notes |= PV_NOTE_START_PCR;
  } else if (size != 17 || (data[16] != 0 && data[16] != 3 && data[16] != 4)) {
    r->row->notes |= PV_NOTE_START_VALUE;
  } else if (r->locality_seen) {
    r->row->notes |= PV_NOTE_START_DUPLICATE;
  } else if (r->row->touched & 1) {
    r->row->notes |= PV_NOTE_START_LATE;
  } else {
    r->locality_seen = 1;
    r->row->locality = data[16];
  }
}

/* An H-CRTM sequence leaves PCR 0 at 00..04; without a StartupLocality its event is what says so (SPEC 0.3, 4.2). */
static void read_hcrtm(pv_reader *r, uint32_t pcr) {
  if (pcr != 0) {
    r->row->notes |= PV_NOTE_START_PCR;
  } else if (r->hcrtm_seen) {
    r->row->notes |= PV_NOTE_START_DUPLICATE;
  } else if (r->row->touched & 1) {
    r->row->notes |= PV_NOTE_START_LATE;
  } else {
    r->hcrtm_seen = 1;
    if (!r->locality_seen) {
      r->row->locality = 4;
    }
  }
}

/* What the log as a whole learns from an event whose bounds are checked. */
static void note_event(pv_reader *r, const pv_event *e, uint32_t present, int digest_set) {
  pv_log *row = r->row;
  const uint8_t *data = r->bytes + e->data_at;
  if (e->type == EV_NO_ACTION) {
    if (digest_set && e->pcr < PV_PCRS) {
      row->notes |= PV_NOTE_NO_ACTION_DIGEST;
    }
    if (pv_has_signature(data, e->data_size, "StartupLocality")) {
      read_locality(r, e->pcr, data, e->data_size);
    } else if (row->n_events && e->data_size >= 14 && memcmp(data, "Spec ID Event0", 14) == 0) {
      row->notes |= PV_NOTE_DUPLICATE_HEADER;
    }
    return;
  }
  if (e->type == (uint32_t)EV_EFI_HCRTM_EVENT) {
    read_hcrtm(r, e->pcr);
  }
  row->touched |= 1u << e->pcr;
  if (row->banks & ~present) {
    row->incomplete |= row->banks & ~present;
    row->notes |= PV_NOTE_MISSING_DIGEST;
  }
}

/* Reads one log. Returns PV_NO_ROOM where the events do not fit, else PV_OK, whatever the log holds. */
static int read_log(pv_reader *r) {
  uint64_t at = 0;
  memset(r->row, 0, sizeof *r->row);
  if (r->size > PV_MAX_LOG_SIZE) {
    pv_fault(r, PV_FAULT_TOO_LARGE, PV_MAX_LOG_SIZE);
    return PV_OK;
  }
  while (at < r->size) {
    if (at && r->row->format == PV_FORMAT_TCG2 && (at = pv_read_usual(r, at)) == r->size) {
      break;
    }
    pv_event *e = &r->events[r->row->n_events];
    uint32_t present = 1;
    int set = 0;
    uint64_t used;
    if (at && (r->bytes[at] == 0 || r->bytes[at] == 0xFF) && pv_read_padding(r, at)) {
      break;
    }
    if (r->row->n_events == PV_MAX_EVENTS) {
      pv_fault(r, PV_FAULT_TOO_LARGE, at);
      break;
    }
    if (r->row->n_events == r->capacity) {
      return PV_NO_ROOM;
    }
    if (at == 0) {
      used = pv_read_first(r, e);
    } else if (r->row->format == PV_FORMAT_TCG1) {
      used = pv_read_legacy(r, at, e);
    } else {
      present = 0;
      used = pv_read_agile(r, at, e, &present, &set);
    }
    if (!used) {
      break;
    }
    if (r->row->format == PV_FORMAT_TCG1) {
      set = e->type == EV_NO_ACTION && !pv_is_zero(r->bytes + at + 8, 20);
    }
    note_event(r, e, present, set);
    if (at == 0) {
      pv_expect_usual(r);
    }
    r->row->n_events++;
    at += used;
  }
  if (r->locality_seen && (r->row->locality == 4) != r->hcrtm_seen) {
    r->row->notes |= PV_NOTE_START_CONTRADICTION;
  }
  return PV_OK;
}

/* Events that a log of this size can hold at most. */
static uint64_t log_capacity(uint64_t size) {
  uint64_t n = size / MIN_AGILE_ENTRY + 1;
  return n < PV_MAX_EVENTS ? n : PV_MAX_EVENTS;
}

uint64_t pv_scan_capacity(const int64_t *offsets, uint64_t first, uint64_t last) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    n += log_capacity((uint64_t)(offsets[i + 1] - offsets[i]));
  }
  return n;
}

int pv_offsets_are_sane(const int64_t *offsets, uint64_t first, uint64_t last) {
  if (first > last || offsets[first] < 0) {
    return 0;
  }
  for (uint64_t i = first; i < last; i++) {
    if (offsets[i + 1] < offsets[i]) {
      return 0;
    }
  }
  return 1;
}

int pv_scan_distinct(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t block,
                     const uint32_t *same_as, pv_log *logs, pv_event *events, uint64_t capacity, uint64_t *n_events) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    uint64_t size = same_as && same_as[i - block] != i - block ? 0 : (uint64_t)(offsets[i + 1] - offsets[i]);
    pv_reader r = {.bytes = blob + offsets[i], .size = size, .row = &logs[i], .events = n ? events + n : events,
                   .capacity = capacity - n}; /* no room at all may be NULL */
    int status = read_log(&r);
    if (status != PV_OK) {
      return status;
    }
    logs[i].first_event = n;
    n += logs[i].n_events;
  }
  *n_events = n;
  return PV_OK;
}

int pv_scan(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  return pv_scan_distinct(blob, offsets, first, last, first, NULL, logs, events, capacity, n_events);
}
