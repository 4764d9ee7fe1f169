/* Texts in the data of events: one fixed contract for every instruction set. */
#ifndef PV_HUNT_H
#define PV_HUNT_H

#include "pyverify.h"

/* Marks the events of a log whose data has all of one of the texts, which are looked for by the same byte. The log, of
 * `size` bytes, holds the data of its events (pv_scan has seen to it); n_texts is at least 1. */
typedef void pv_text_marker(const uint8_t *log, uint64_t size, const pv_event *events, uint64_t n_events,
                            const pv_text *texts, uint64_t n_texts, uint8_t *marks);

pv_text_marker pv_mark_texts_portable, pv_mark_texts_avx2;

#endif
