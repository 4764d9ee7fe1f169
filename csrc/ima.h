/* What the parts of the IMA reader share: templates and their fields, and what the walks agree on. */
#ifndef PV_IMA_H
#define PV_IMA_H

#include "pyverify.h"

enum {
  IMA_MAX_FIELDS = 15,    /* IMA_TEMPLATE_NUM_FIELDS_MAX of the kernel (SPEC 7.2) */
  IMA_MAX_NAME = 99,      /* of a template */
  IMA_LEGACY_DIGEST = 20, /* template "ima" does not say the size of its digest; only SHA-1 is in use */
  IMA_LEGACY_NAME = 255,  /* IMA_EVENT_NAME_LEN_MAX; hashed as one byte more */
  IMA_LEGACY_MESSAGE = IMA_LEGACY_DIGEST + IMA_LEGACY_NAME + 1,
  IMA_MAX_DIGEST = 64, /* of a file */
};

/* Field ids of a template's format, in the order of the table in ima_templates.c. */
enum ima_field {
  FIELD_D,
  FIELD_D_NG,
  FIELD_D_NGV2,
  FIELD_N,
  FIELD_N_NG,
  FIELD_SIG,
  FIELD_EVMSIG,
  FIELD_BUF,
  FIELD_D_MODSIG,
  FIELD_MODSIG,
  FIELD_XATTRNAMES,
  FIELD_XATTRLENGTHS,
  FIELD_XATTRVALUES,
  FIELD_IUID,
  FIELD_IGID,
  FIELD_IMODE,
  IMA_FIELDS,
};

typedef struct {
  uint32_t id;
  uint32_t n_fields;
  uint8_t fields[IMA_MAX_FIELDS];
} ima_template;

/* The template of this name; 0 where there is none, or where its format is not possible: an unknown field, one twice, or
 * more than one digest, name or signature, since no reader could say which counts. */
int ima_find_template(const uint8_t *name, uint64_t size, ima_template *found);

/* Bytes of a number field (iuid, igid, imode), else 0. */
uint32_t ima_number_size(uint8_t field);

/* Whether a list's row and an entry of it may be used with a list of this size: entries come back from the caller. */
static inline int ima_row_fits(const pv_ima_list *row, uint64_t n_entries) {
  return row->first_entry <= n_entries && row->n_entries <= n_entries - row->first_entry;
}

static inline int ima_piece_fits(uint32_t at, uint32_t piece, uint64_t size) {
  return at <= size && piece <= size - at;
}

#endif
