/* IMA lists in the ASCII form (SPEC 7.1), translated into the binary form, so that all else reads one form only. What the
 * kernel would not have printed so is a fault: a list whose file names hold newlines does not get through. */
#include <string.h>

#include "eventlog.h"
#include "ima.h"

/* Output may be this many times as long: a number of one digit with its blank becomes a length and 4 bytes. */
enum { LONGER = 4 };

typedef struct {
  const uint8_t *bytes; /* of the list */
  uint32_t digest_size;
  pv_ima_list *row;
  uint8_t *out;
  uint64_t room, used; /* `used` is past `room` where it was not enough */
} translator;

/* A piece of a line. */
typedef struct {
  const uint8_t *bytes;
  uint64_t size;
} piece;

static uint64_t fault(translator *t, enum pv_ima_fault code, const uint8_t *at) {
  t->row->fault = code;
  t->row->fault_at = (uint64_t)(at - t->bytes);
  return 0;
}

static void put(translator *t, const void *bytes, uint64_t size) {
  if (t->used <= t->room && size <= t->room - t->used) {
    memcpy(t->out + t->used, bytes, size);
    t->used += size;
  } else {
    t->used = t->room + 1;
  }
}

static void put_le32(translator *t, uint64_t v) {
  const uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
  put(t, bytes, 4);
}

static int digit(uint8_t c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* Lower-case hexadecimal digits, as the kernel prints them. */
static int put_hex(translator *t, piece text) {
  if (text.size % 2) {
    return 0;
  }
  for (uint64_t i = 0; i < text.size; i += 2) {
    int high = digit(text.bytes[i]), low = digit(text.bytes[i + 1]);
    if (high < 0 || low < 0) {
      return 0;
    }
    uint8_t byte = (uint8_t)(high << 4 | low);
    put(t, &byte, 1);
  }
  return 1;
}

/* What comes before the next blank of the line, which is taken off with it; the whole rest where `last`. */
static int take(piece *line, int last, piece *taken) {
  const uint8_t *blank = line->size ? memchr(line->bytes, ' ', line->size) : NULL;
  if (last != !blank) {
    return 0;
  }
  *taken = (piece){line->bytes, blank ? (uint64_t)(blank - line->bytes) : line->size};
  uint64_t used = taken->size + (blank != NULL);
  line->bytes += used;
  line->size -= used;
  return 1;
}

/* "%2d": two characters, the first of which may be a blank. */
static int take_pcr(piece *line, uint32_t *pcr) {
  const uint8_t *p = line->bytes;
  if (line->size < 3 || p[2] != ' ' || p[1] < '0' || p[1] > '9' || (p[0] != ' ' && (p[0] < '1' || p[0] > '9'))) {
    return 0;
  }
  *pcr = (p[0] == ' ' ? 0 : 10 * (uint32_t)(p[0] - '0')) + p[1] - '0';
  line->bytes += 3;
  line->size -= 3;
  return *pcr < PV_PCRS;
}

static int begins(piece text, const char *word) {
  return text.size > strlen(word) && memcmp(text.bytes, word, strlen(word)) == 0;
}

/* `algorithm:hex`, in the second version with a type before it; in the first also hex alone, where the binary form has no
 * algorithm before the colon. */
static int put_named_digest(translator *t, piece text, int typed) {
  uint64_t prefix = text.size;
  while (prefix && text.bytes[prefix - 1] != ':') {
    prefix--;
  }
  piece name = {text.bytes, prefix};
  uint64_t hex = text.size - prefix;
  if (prefix == 1 || !hex || hex > 2 * IMA_MAX_DIGEST || (typed && !begins(name, "ima:") && !begins(name, "verity:"))) {
    return 0;
  }
  put_le32(t, (prefix ? prefix : 1) + 1 + hex / 2);
  put(t, prefix ? text.bytes : (const uint8_t *)":", prefix ? prefix : 1);
  put(t, "", 1);
  return put_hex(t, (piece){text.bytes + prefix, hex});
}

/* A decimal number without leading zeros that fits, or nothing. */
static int put_number(translator *t, piece text, uint32_t size) {
  uint64_t value = 0;
  if (!text.size) {
    put_le32(t, 0);
    return 1;
  }
  if (text.size > 10 || (text.size > 1 && text.bytes[0] == '0')) {
    return 0;
  }
  for (uint64_t i = 0; i < text.size; i++) {
    if (text.bytes[i] < '0' || text.bytes[i] > '9') {
      return 0;
    }
    value = value * 10 + text.bytes[i] - '0';
  }
  if (value >> 8 * size) {
    return 0;
  }
  const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
  put_le32(t, size);
  put(t, bytes, size);
  return 1;
}

/* Names of extended attributes may be no text for a file that has none, which is an empty string, or where there is no
 * file, which is nothing: then all that follows is empty too. */
static int is_no_file(piece rest) {
  while (rest.size && *rest.bytes == ' ') {
    rest.bytes++, rest.size--;
  }
  return rest.size == 0;
}

/* `rest` is what follows the field in its line. */
static int put_field(translator *t, uint8_t field, piece text, piece rest) {
  switch (field) {
    case FIELD_D_MODSIG:
      if (!text.size) {
        put_le32(t, 0);
        return 1;
      }
      /* fall through */
    case FIELD_D_NG:
    case FIELD_D_NGV2:
      return put_named_digest(t, text, field == FIELD_D_NGV2);
    case FIELD_D:
      put_le32(t, text.size / 2);
      return text.size <= 2 * IMA_MAX_DIGEST && put_hex(t, text);
    case FIELD_XATTRNAMES:
      if (!text.size && is_no_file(rest)) {
        put_le32(t, 0);
        return 1;
      }
      /* fall through */
    case FIELD_N:
    case FIELD_N_NG:
      put_le32(t, text.size + 1);
      put(t, text.bytes, text.size);
      put(t, "", 1);
      return 1;
    case FIELD_IUID:
    case FIELD_IGID:
    case FIELD_IMODE:
      return put_number(t, text, ima_number_size(field));
    default:
      put_le32(t, text.size / 2);
      return put_hex(t, text);
  }
}

/* Template "ima": digest without a length, name without its NUL. */
static int put_legacy_field(translator *t, uint8_t field, piece text) {
  if (field == FIELD_D) {
    return text.size == 2 * IMA_LEGACY_DIGEST && put_hex(t, text);
  }
  put_le32(t, text.size);
  put(t, text.bytes, text.size);
  return text.size <= IMA_LEGACY_NAME;
}

/* One line without its newline. Returns 0 with the fault set. */
static uint64_t read_line(translator *t, piece line) {
  ima_template template;
  piece text;
  uint32_t pcr;
  const uint8_t *start = line.bytes, *zero = line.size ? memchr(line.bytes, 0, line.size) : NULL;
  if (zero) {
    return fault(t, PV_IMA_FAULT_FORMAT, zero);
  }
  if (!take_pcr(&line, &pcr)) {
    return fault(t, PV_IMA_FAULT_FORMAT, start);
  }
  put_le32(t, pcr);
  if (!take(&line, 0, &text) || text.size != 2 * t->digest_size || !put_hex(t, text)) {
    return fault(t, PV_IMA_FAULT_FORMAT, start + 3);
  }
  if (!take(&line, 0, &text) || !text.size || text.size > IMA_MAX_NAME) {
    return fault(t, PV_IMA_FAULT_FORMAT, start + 4 + 2 * t->digest_size);
  }
  if (!ima_find_template(text.bytes, text.size, &template)) {
    return fault(t, PV_IMA_FAULT_TEMPLATE, text.bytes);
  }
  put_le32(t, text.size);
  put(t, text.bytes, text.size);
  uint64_t length_at = t->used;
  int legacy = template.id == PV_IMA_LEGACY;
  if (!legacy) {
    put_le32(t, 0);
  }
  for (uint32_t i = 0; i < template.n_fields; i++) {
    const uint8_t *at = line.bytes;
    if (!take(&line, i + 1 == template.n_fields, &text) ||
        !(legacy ? put_legacy_field(t, template.fields[i], text) : put_field(t, template.fields[i], text, line))) {
      return fault(t, PV_IMA_FAULT_FORMAT, at);
    }
  }
  if (t->used > t->room) {
    return 1; /* the caller sees it */
  }
  uint64_t end = t->used, size = end - length_at - 4;
  if (!legacy) {
    if (size > PV_IMA_MAX_DATA) {
      return fault(t, PV_IMA_FAULT_FORMAT, start);
    }
    t->used = length_at;
    put_le32(t, size);
    t->used = end;
  }
  return 1;
}

/* Reads one list. Returns PV_NO_ROOM where the output is too small, else PV_OK, whatever the list holds. */
static int read_list(translator *t, uint64_t size) {
  const uint8_t *at = t->bytes, *end = at + size;
  if (size > PV_IMA_MAX_SIZE) {
    fault(t, PV_IMA_FAULT_TOO_LARGE, t->bytes + PV_IMA_MAX_SIZE);
    return PV_OK;
  }
  while (at < end) {
    const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
    uint64_t before = t->used;
    if (!newline) {
      fault(t, PV_IMA_FAULT_TRUNCATED, at);
      break;
    }
    if (t->row->n_entries == PV_IMA_MAX_ENTRIES) {
      fault(t, PV_IMA_FAULT_TOO_LARGE, at);
      break;
    }
    if (!read_line(t, (piece){at, (uint64_t)(newline - at)})) {
      t->used = before;
      break;
    }
    if (t->used > t->room) {
      return PV_NO_ROOM;
    }
    if (t->used > PV_IMA_MAX_SIZE) {
      t->used = before;
      fault(t, PV_IMA_FAULT_TOO_LARGE, at);
      break;
    }
    t->row->n_entries++;
    at = newline + 1;
  }
  return PV_OK;
}

uint64_t pv_ima_binary_capacity(const int64_t *offsets, uint64_t first, uint64_t last) {
  return first < last ? LONGER * (uint64_t)(offsets[last] - offsets[first]) : 0;
}

int pv_ima_from_ascii(const uint8_t *blob, const int64_t *offsets, const uint8_t *banks, const uint8_t *is_ascii,
                      uint64_t first, uint64_t last, pv_ima_list *lists, uint8_t *binary, uint64_t capacity,
                      int64_t *binary_at) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  translator t = {.out = binary, .room = capacity};
  binary_at[0] = 0;
  for (uint64_t i = first; i < last; i++) {
    uint64_t size = (uint64_t)(offsets[i + 1] - offsets[i]), before = t.used;
    t.bytes = blob + offsets[i];
    t.row = &lists[i];
    t.digest_size = pv_digest_size(banks[i]);
    if (!t.digest_size) {
      return PV_BAD_ARGUMENT;
    }
    memset(t.row, 0, sizeof *t.row);
    t.row->bank = banks[i];
    if (!is_ascii[i]) {
      put(&t, t.bytes, size);
    } else {
      /* The limit is a list's, not the batch's. */
      translator one = {t.bytes, t.digest_size, t.row, t.out + before, capacity - before, 0};
      int status = read_list(&one, size);
      if (status != PV_OK) {
        return status;
      }
      t.used = before + one.used;
    }
    if (t.used > capacity) {
      return PV_NO_ROOM;
    }
    binary_at[i - first + 1] = (int64_t)t.used;
  }
  return PV_OK;
}
