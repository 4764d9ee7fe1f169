/* IMA lists in the binary form (SPEC 7.2, 7.3): bytes in, entry rows out. Lengths are untrusted as in entry.c. */
#include "ima.h"

#include "eventlog.h"
#include "reader.h"

enum {
  MIN_ENTRY = 4 + 20 + 4 + 1 + 4, /* PCR, SHA-1 digest, a template's name, no data */
  LEAST_WEAK = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 8, /* MD4, MD5, SHA-1, RIPEMD-160, RIPEMD-128 */
  MD5 = 1,
  SHA1 = 2,
  UNNAMED = 256, /* an algorithm that only the size of its digest tells */
  AHEAD = 512,   /* bytes that are asked for before they are needed: some four entries */
};

static const char *const fault_codes[] = {
    NULL, "ima.format", "ima.truncated", "ima.endianness", "ima.template", "log.too-large",
};

const char *pv_ima_fault_code(uint32_t fault) {
  return fault < sizeof fault_codes / sizeof *fault_codes ? fault_codes[fault] : NULL;
}

typedef struct {
  const uint8_t *bytes;
  uint64_t size;
  uint32_t digest_size; /* of the template digests that the list shows */
  pv_ima_list *row;
  /* What was read last, since the next entry is mostly alike: the template's name and what it says, and what comes
   * before a digest with the algorithm that it names. */
  const uint8_t *name, *prefix;
  uint64_t name_size, prefix_size;
  ima_template template;
  uint32_t algorithm, digest_flags;
  int typed;
} list_reader;

/* Marks the list as bad. Returns 0, which is what the readers below return for "no further". */
static uint64_t fault(list_reader *r, enum pv_ima_fault code, uint64_t at) {
  r->row->fault = code;
  r->row->fault_at = at;
  return 0;
}

static int has_name(const uint8_t *path, uint64_t size, const char *name, int whole) {
  uint64_t n = strlen(name);
  return (whole ? size == n : size >= n) && memcmp(path, name, n) == 0;
}

/* A digest whose algorithm the field does not name: older kernels wrote only these two so. */
static uint32_t algorithm_by_size(uint64_t size) {
  return size == 20 ? SHA1 : size == 16 ? MD5 : PV_IMA_NO_ALGORITHM;
}

static int read_digest(pv_ima_entry *e, uint64_t at, uint64_t size, uint32_t algorithm) {
  if (size > IMA_MAX_DIGEST) {
    return 0;
  }
  e->algorithm = algorithm;
  e->file_digest_at = (uint32_t)at;
  e->file_digest_size = (uint32_t)size;
  e->flags &= ~(uint32_t)PV_IMA_NO_DIGEST;
  return 1;
}

/* What comes before a digest: `algorithm ":" NUL`, with `type ":"` before it in the second version (SPEC 7.3). */
static int read_prefix(list_reader *r, const uint8_t *text, uint64_t size, int typed) {
  const uint8_t *start = text, *end = size ? memchr(text, 0, size) : NULL;
  if (!end || end == text || end[-1] != ':') {
    return 0;
  }
  uint64_t name_size = (uint64_t)(end - text) - 1;
  r->digest_flags = 0;
  if (typed) {
    int verity = has_name(text, name_size, "verity:", 0), ima = has_name(text, name_size, "ima:", 0);
    if (!verity && !ima) {
      return 0;
    }
    r->digest_flags = verity ? PV_IMA_VERITY : 0;
    text += verity ? 7 : 4;
    name_size -= verity ? 7 : 4;
  }
  r->prefix = start;
  r->prefix_size = (uint64_t)(end - start) + 1;
  r->algorithm = name_size ? pv_ima_algorithm(text, name_size) : UNNAMED;
  return 1;
}

static int read_named_digest(list_reader *r, pv_ima_entry *e, uint64_t at, uint64_t size, int typed) {
  const uint8_t *text = r->bytes + at;
  /* A prefix ends in its only NUL: what begins with its bytes has the same one. */
  int known = r->prefix_size && size >= r->prefix_size && memcmp(text, r->prefix, r->prefix_size) == 0;
  if ((!known || typed != r->typed) && !read_prefix(r, text, size, typed)) {
    r->prefix_size = 0;
    return 0;
  }
  r->typed = typed;
  uint64_t digest_size = size - r->prefix_size;
  e->flags |= r->digest_flags;
  return read_digest(e, at + r->prefix_size, digest_size,
                     r->algorithm == UNNAMED ? algorithm_by_size(digest_size) : r->algorithm);
}

/* A string ends in its only NUL. */
static int is_string(const uint8_t *text, uint64_t size) { return size && memchr(text, 0, size) == text + size - 1; }

static void read_path(pv_ima_entry *e, uint64_t at, uint64_t size) {
  e->path_at = (uint32_t)at;
  e->path_size = (uint32_t)size;
  e->flags &= ~(uint32_t)PV_IMA_NO_PATH;
}

/* One field of template data. Returns whether it can be what it is said to be. */
static int read_field(list_reader *r, uint8_t field, uint64_t at, uint64_t size, pv_ima_entry *e) {
  const uint8_t *text = r->bytes + at;
  switch (field) {
    case FIELD_D:
      return read_digest(e, at, size, algorithm_by_size(size));
    case FIELD_D_NG:
    case FIELD_D_NGV2:
      return read_named_digest(r, e, at, size, field == FIELD_D_NGV2);
    case FIELD_D_MODSIG: { /* empty where there is no appended signature */
      pv_ima_entry unused = {0};
      return !size || read_named_digest(r, &unused, at, size, 0);
    }
    case FIELD_N:
    case FIELD_N_NG:
      if (!is_string(text, size)) {
        return 0;
      }
      read_path(e, at, size - 1);
      return 1;
    case FIELD_XATTRNAMES:
      return !size || is_string(text, size);
    case FIELD_BUF:
      e->flags |= PV_IMA_BUFFER;
      /* fall through */
    case FIELD_SIG:
    case FIELD_EVMSIG:
      e->signature_at = (uint32_t)at;
      e->signature_size = (uint32_t)size;
      return 1;
    case FIELD_IUID:
    case FIELD_IGID:
    case FIELD_IMODE: /* empty where there is no file */
      return !size || size == ima_number_size(field);
    default:
      return 1;
  }
}

/* The fields of an entry, which must take up its data exactly. */
static uint64_t read_fields(list_reader *r, pv_ima_entry *e) {
  uint64_t at = e->data_at, left = e->data_size;
  for (uint32_t i = 0; i < r->template.n_fields; i++) {
    if (left < 4) {
      return fault(r, PV_IMA_FAULT_FORMAT, at);
    }
    uint64_t size = pv_le32(r->bytes + at);
    left -= 4;
    if (size > left || !read_field(r, r->template.fields[i], at + 4, size, e)) {
      return fault(r, PV_IMA_FAULT_FORMAT, at);
    }
    at += 4 + size;
    left -= size;
  }
  return left ? fault(r, PV_IMA_FAULT_FORMAT, at) : 1;
}

/* Template "ima": no length of the whole, no length of the digest, the name without NUL. `left` bytes lie at `at`. */
static uint64_t read_legacy(list_reader *r, uint64_t at, uint64_t left, pv_ima_entry *e) {
  if (left < IMA_LEGACY_DIGEST + 4) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, e->at);
  }
  uint64_t size = pv_le32(r->bytes + at + IMA_LEGACY_DIGEST), path_at = at + IMA_LEGACY_DIGEST + 4;
  if (size > IMA_LEGACY_NAME) {
    return fault(r, PV_IMA_FAULT_FORMAT, at + IMA_LEGACY_DIGEST);
  }
  if (size > left - IMA_LEGACY_DIGEST - 4) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, e->at);
  }
  if (size && memchr(r->bytes + path_at, 0, size)) {
    return fault(r, PV_IMA_FAULT_FORMAT, path_at);
  }
  read_digest(e, at, IMA_LEGACY_DIGEST, SHA1);
  read_path(e, path_at, size);
  e->data_at = (uint32_t)at;
  e->data_size = (uint32_t)(IMA_LEGACY_DIGEST + 4 + size);
  return 1;
}

static uint64_t read_data(list_reader *r, uint64_t at, uint64_t left, pv_ima_entry *e) {
  if (e->template_id == PV_IMA_LEGACY) {
    return read_legacy(r, at, left, e);
  }
  if (left < 4) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, e->at);
  }
  uint64_t size = pv_le32(r->bytes + at);
  if (size > PV_IMA_MAX_DATA) {
    return fault(r, PV_IMA_FAULT_FORMAT, at);
  }
  if (size > left - 4) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, e->at);
  }
  e->data_at = (uint32_t)at + 4;
  e->data_size = (uint32_t)size;
  return read_fields(r, e);
}

static uint32_t be32(const uint8_t *p) { return __builtin_bswap32(pv_le32(p)); }

static int is_name_size(uint32_t size) { return size && size <= IMA_MAX_NAME; }

/* Integers are those of the machine (SPEC 7.2). The first record shows a big-endian one: no later one may. */
static int is_swapped(const list_reader *r) {
  const uint8_t *p = r->bytes;
  if (r->size < 4 || (pv_le32(p) >= PV_PCRS && be32(p) >= PV_PCRS)) {
    return 0;
  }
  if (pv_le32(p) >= PV_PCRS) {
    return 1;
  }
  p += 4 + r->digest_size;
  return r->size >= 8 + r->digest_size && !is_name_size(pv_le32(p)) && is_name_size(be32(p));
}

/* What the entry is, once it is read. */
static void note_entry(list_reader *r, pv_ima_entry *e) {
  const uint8_t *path = r->bytes + e->path_at;
  if (pv_is_zero(r->bytes + e->digest_at, r->digest_size)) {
    e->flags |= PV_IMA_VIOLATION;
    r->row->n_violations++;
  }
  if (e->path_size && *path != '/') {
    if (has_name(path, e->path_size, "boot_aggregate", 1)) {
      e->flags |= PV_IMA_BOOT_AGGREGATE | (r->row->n_entries ? PV_IMA_KEXEC : 0);
    } else if (has_name(path, e->path_size, "kexec_", 0)) {
      e->flags |= PV_IMA_KEXEC;
    }
  }
  if (!(e->flags & PV_IMA_NO_DIGEST)) {
    uint32_t size = pv_ima_algorithm_size(e->algorithm);
    /* A violation's digest is 20 zero bytes in older kernels, whatever its algorithm (SPEC 7.4). */
    int violation = e->flags & PV_IMA_VIOLATION && e->file_digest_size == 20;
    if (!size) {
      e->flags |= PV_IMA_UNKNOWN_ALGORITHM;
    } else if (e->file_digest_size != size && !violation) {
      e->flags |= PV_IMA_DIGEST_LENGTH;
    }
    if (size && LEAST_WEAK >> e->algorithm & 1) {
      e->flags |= PV_IMA_WEAK_HASH;
    }
  }
  r->row->notes |= e->flags;
  r->row->pcrs |= 1u << e->pcr;
}

/* Reads one entry. Returns its size, or 0 with the fault set. */
static uint64_t read_entry(list_reader *r, uint64_t at, pv_ima_entry *e) {
  const uint8_t *p = r->bytes + at;
  uint64_t left = r->size - at, header = 8 + (uint64_t)r->digest_size;
  memset(e, 0, sizeof *e);
  if (at == 0 && is_swapped(r)) {
    return fault(r, PV_IMA_FAULT_ENDIANNESS, 0);
  }
  if (left >= 4 && pv_le32(p) >= PV_PCRS) {
    return fault(r, PV_IMA_FAULT_FORMAT, at);
  }
  if (left < header) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, at);
  }
  uint64_t name_size = pv_le32(p + header - 4);
  if (name_size == 0 || name_size > IMA_MAX_NAME) {
    return fault(r, PV_IMA_FAULT_FORMAT, at + header - 4);
  }
  left -= header;
  if (left < name_size) {
    return fault(r, PV_IMA_FAULT_TRUNCATED, at);
  }
  p += header;
  if (!r->name || name_size != r->name_size || memcmp(p, r->name, name_size) != 0) {
    if (!ima_find_template(p, name_size, &r->template)) {
      return fault(r, PV_IMA_FAULT_TEMPLATE, at + header);
    }
    r->name = p;
    r->name_size = name_size;
  }
  e->pcr = pv_le32(r->bytes + at);
  e->template_id = r->template.id;
  e->at = (uint32_t)at;
  e->digest_at = (uint32_t)at + 4;
  e->name_at = (uint32_t)(at + header);
  e->name_size = (uint32_t)name_size;
  e->algorithm = PV_IMA_NO_ALGORITHM;
  e->flags = PV_IMA_NO_PATH | PV_IMA_NO_DIGEST;
  if (!read_data(r, e->name_at + name_size, left - name_size, e)) {
    return 0;
  }
  note_entry(r, e);
  return (uint64_t)e->data_at + e->data_size - at;
}

/* Reads one list. Returns PV_NO_ROOM where the entries do not fit, else PV_OK, whatever the list holds. */
static int read_list(list_reader *r, pv_ima_entry *entries, uint64_t capacity) {
  uint64_t at = 0;
  if (r->size > PV_IMA_MAX_SIZE) {
    fault(r, PV_IMA_FAULT_TOO_LARGE, PV_IMA_MAX_SIZE);
    return PV_OK;
  }
  while (at < r->size) {
    for (uint64_t ahead = AHEAD; ahead < AHEAD + 192 && r->size - at > AHEAD + 192; ahead += 64) {
      __builtin_prefetch(r->bytes + at + ahead);
    }
    if (r->row->n_entries == PV_IMA_MAX_ENTRIES) {
      fault(r, PV_IMA_FAULT_TOO_LARGE, at);
      break;
    }
    if (r->row->n_entries == capacity) {
      return PV_NO_ROOM;
    }
    uint64_t used = read_entry(r, at, &entries[r->row->n_entries]);
    if (!used) {
      break;
    }
    r->row->n_entries++;
    at += used;
  }
  return PV_OK;
}

/* Entries that a list of this size can hold at most, one that is cut included. */
static uint64_t list_capacity(uint64_t size) {
  uint64_t n = size / MIN_ENTRY + 1;
  return n < PV_IMA_MAX_ENTRIES ? n : PV_IMA_MAX_ENTRIES;
}

uint64_t pv_ima_capacity(const int64_t *offsets, uint64_t first, uint64_t last) {
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    n += list_capacity((uint64_t)(offsets[i + 1] - offsets[i]));
  }
  return n;
}

int pv_ima_scan(const uint8_t *blob, const int64_t *offsets, const uint8_t *banks, uint64_t first, uint64_t last,
                pv_ima_list *lists, pv_ima_entry *entries, uint64_t capacity, uint64_t *n_entries) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  uint64_t n = 0;
  for (uint64_t i = first; i < last; i++) {
    list_reader r = {.bytes = blob + offsets[i], .size = (uint64_t)(offsets[i + 1] - offsets[i]), .row = &lists[i]};
    r.digest_size = pv_digest_size(banks[i]);
    if (!r.digest_size) {
      return PV_BAD_ARGUMENT;
    }
    memset(r.row, 0, sizeof *r.row);
    r.row->bank = banks[i];
    r.row->first_entry = n;
    int status = read_list(&r, n ? entries + n : entries /* no room at all may be NULL */, capacity - n);
    if (status != PV_OK) {
      return status;
    }
    n += r.row->n_entries;
  }
  *n_entries = n;
  return PV_OK;
}
