/* IMA entries against a set of allowed (name, algorithm, digest). */
#include <string.h>

#include "eventlog.h"
#include "find.h"
#include "ima.h"

typedef struct {
  lookup paths;
  const uint64_t *members_at;
  const uint32_t *kinds;
  const uint8_t *digests;
} set;

/* How the entry's digest stands to a member: below, at or above it. */
static int compare(const set *s, uint64_t member, uint32_t kind, const uint8_t *digest) {
  if (s->kinds[member] != kind) {
    return kind < s->kinds[member] ? -1 : 1;
  }
  return memcmp(digest, s->digests + member * IMA_MAX_DIGEST, IMA_MAX_DIGEST);
}

static int is_member(const set *s, uint64_t low, uint64_t high, uint32_t kind, const uint8_t *digest) {
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    int order = compare(s, middle, kind, digest);
    if (order == 0) {
      return 1;
    }
    if (order < 0) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return 0;
}

static uint8_t judge(const set *s, const uint8_t *list, const pv_ima_entry *e, int is_first) {
  if (e->flags & PV_IMA_VIOLATION || (is_first && e->flags & PV_IMA_BOOT_AGGREGATE)) {
    return PV_IMA_NOT_JUDGED;
  }
  uint32_t path = e->flags & PV_IMA_NO_PATH ? PV_NOT_FOUND : pv_find_item(&s->paths, list + e->path_at, e->path_size);
  if (path == PV_NOT_FOUND) {
    return PV_IMA_ADDED;
  }
  uint32_t kind = e->algorithm | (e->flags & PV_IMA_VERITY ? PV_IMA_KIND_VERITY : 0) |
                  (e->flags & PV_IMA_BUFFER ? PV_IMA_KIND_BUFFER : 0);
  uint32_t size = pv_ima_algorithm_size(e->algorithm);
  uint8_t digest[IMA_MAX_DIGEST] = {0};
  if (!size || size != e->file_digest_size || e->flags & PV_IMA_NO_DIGEST) {
    return PV_IMA_CHANGED;
  }
  memcpy(digest, list + e->file_digest_at, size);
  return is_member(s, s->members_at[path], s->members_at[path + 1], kind, digest) ? PV_IMA_OK : PV_IMA_CHANGED;
}

int pv_ima_check(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                 const pv_ima_entry *entries, uint64_t n_entries, const uint8_t *paths, const int64_t *path_at,
                 uint64_t n_paths, uint64_t key, const uint64_t *slots, uint64_t n_slots, const uint64_t *members_at,
                 const uint32_t *kinds, const uint8_t *digests, uint64_t n_digests, uint8_t *outcomes) {
  const set s = {{paths, path_at, n_paths, key, slots, n_slots}, members_at, kinds, digests};
  if (!pv_is_lookup(&s.paths) || !pv_offsets_are_sane(offsets, 0, n_lists)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t p = 0; p < n_paths; p++) {
    if (members_at[p] > members_at[p + 1] || members_at[p + 1] > n_digests) {
      return PV_BAD_ARGUMENT;
    }
  }
  for (uint64_t i = 0; i < n_lists; i++) {
    uint64_t size = (uint64_t)(offsets[i + 1] - offsets[i]);
    if (!ima_row_fits(&lists[i], n_entries)) {
      return PV_BAD_ARGUMENT;
    }
    for (uint64_t k = 0, first = lists[i].first_entry; k < lists[i].n_entries; k++) {
      const pv_ima_entry *e = &entries[first + k];
      if (!ima_piece_fits(e->path_at, e->path_size, size) ||
          !ima_piece_fits(e->file_digest_at, e->file_digest_size, size)) {
        return PV_BAD_ARGUMENT;
      }
      outcomes[first + k] = judge(&s, blob + offsets[i], e, k == 0);
    }
  }
  return PV_OK;
}
