/* IMA entries against sets of allowed (name, algorithm, digest), one set a list. */
#include <string.h>

#include "eventlog.h"
#include "find.h"
#include "ima.h"

typedef struct {
  lookup paths;
  const uint64_t *members_at;
  const uint32_t *kinds;
  const uint8_t *digests;
  uint64_t n_members;
} table;

/* How the entry's digest stands to a member: below, at or above it. */
static int compare(const table *t, uint64_t member, uint32_t kind, const uint8_t *digest) {
  if (t->kinds[member] != kind) {
    return kind < t->kinds[member] ? -1 : 1;
  }
  return memcmp(digest, t->digests + member * IMA_MAX_DIGEST, IMA_MAX_DIGEST);
}

/* Where in an increasing run of numbers the first is that is not below this one. */
static uint64_t lower_bound(const uint32_t *numbers, uint64_t n, uint64_t wanted) {
  uint64_t at = 0;
  while (n) {
    uint64_t half = n / 2;
    int below = numbers[at + half] < wanted;
    at += below ? half + 1 : 0;
    n = below ? n - half - 1 : half;
  }
  return at;
}

/* How many numbers from the start of an increasing run are below this one: looked for from there, as they are few. */
static uint64_t count_below(const uint32_t *numbers, uint64_t n, uint64_t wanted) {
  uint64_t reach = 1;
  while (reach < n && numbers[reach - 1] < wanted) {
    reach = reach < n / 2 ? 2 * reach : n;
  }
  return n ? lower_bound(numbers, reach, wanted) : 0;
}

/* Where in a run of members of one path the one with this digest is, or n. Numbers that are no member are not it. */
static uint64_t find_member(const table *t, const uint32_t *run, uint64_t n, uint32_t kind, const uint8_t *digest) {
  uint64_t low = 0, high = n;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (run[middle] >= t->n_members) {
      return n;
    }
    int order = compare(t, run[middle], kind, digest);
    if (order == 0) {
      return middle;
    }
    if (order < 0) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return n;
}

static uint8_t judge(const table *t, const uint32_t *set, uint64_t n, const uint8_t *list, const pv_ima_entry *e,
                     uint32_t *member) {
  uint32_t path = e->flags & PV_IMA_NO_PATH ? PV_NOT_FOUND : pv_find_item(&t->paths, list + e->path_at, e->path_size);
  *member = PV_NOT_FOUND;
  if (path == PV_NOT_FOUND) {
    return PV_IMA_ADDED;
  }
  const uint32_t *run = set + lower_bound(set, n, t->members_at[path]);
  uint64_t n_run = count_below(run, n - (uint64_t)(run - set), t->members_at[path + 1]);
  if (!n_run) {
    return PV_IMA_ADDED;
  }
  *member = run[0];
  uint32_t kind = e->algorithm | (e->flags & PV_IMA_VERITY ? PV_IMA_KIND_VERITY : 0) |
                  (e->flags & PV_IMA_BUFFER ? PV_IMA_KIND_BUFFER : 0);
  uint32_t size = pv_ima_algorithm_size(e->algorithm);
  uint8_t digest[IMA_MAX_DIGEST] = {0};
  if (!size || size != e->file_digest_size || e->flags & PV_IMA_NO_DIGEST) {
    return PV_IMA_CHANGED;
  }
  memcpy(digest, list + e->file_digest_at, size);
  uint64_t found = find_member(t, run, n_run, kind, digest);
  if (found == n_run) {
    return PV_IMA_CHANGED;
  }
  *member = run[found];
  return PV_IMA_OK;
}

int pv_ima_check(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                 const pv_ima_entry *entries, uint64_t n_entries, const uint32_t *set_of, const pv_ima_sets *sets,
                 uint8_t *outcomes, uint32_t *members) {
  const table t = {{sets->paths, sets->path_at, sets->n_paths, sets->key, sets->slots, sets->n_slots},
                   sets->members_at,
                   sets->kinds,
                   sets->digests,
                   sets->n_members};
  if (!pv_is_lookup(&t.paths) || !pv_offsets_are_sane(offsets, 0, n_lists)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = 0; i < n_lists; i++) {
    uint64_t size = (uint64_t)(offsets[i + 1] - offsets[i]);
    int has_set = set_of[i] < sets->n_sets;
    uint64_t from = has_set ? sets->set_at[set_of[i]] : 0, to = has_set ? sets->set_at[set_of[i] + 1] : 0;
    if (!ima_row_fits(&lists[i], n_entries) || from > to || to > sets->n_numbers) {
      return PV_BAD_ARGUMENT;
    }
    for (uint64_t k = lists[i].first_entry, end = k + lists[i].n_entries; k < end; k++) {
      const pv_ima_entry *e = &entries[k];
      if (!ima_piece_fits(e->path_at, e->path_size, size) ||
          !ima_piece_fits(e->file_digest_at, e->file_digest_size, size)) {
        return PV_BAD_ARGUMENT;
      }
      int is_aggregate = k == lists[i].first_entry && e->flags & PV_IMA_BOOT_AGGREGATE;
      members[k] = PV_NOT_FOUND;
      outcomes[k] = !has_set || is_aggregate || e->flags & PV_IMA_VIOLATION
                        ? PV_IMA_NOT_JUDGED
                        : judge(&t, sets->numbers + from, to - from, blob + offsets[i], e, &members[k]);
    }
  }
  return PV_OK;
}
