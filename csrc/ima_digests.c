/* From IMA entries to what PCRs were extended with (SPEC 7.4): messages to hash, each distinct one once, and chains of
 * their digests. Every piece of an entry is checked against its list again: entries come back from the caller. */
#include <string.h>

#include "eventlog.h"
#include "ima.h"
#include "share.h"

enum { AHEAD = 16 }; /* entries whose slots are asked for before they are looked at */

/* Messages so far: pieces of the blob, and of what was built, which is numbered as if it followed. A slot holds half of
 * a message's hash, and its number plus one. */
typedef struct {
  const uint8_t *blob;
  uint64_t blob_size;
  uint8_t *built;
  uint64_t capacity, used; /* of `built` */
  int64_t *begins, *ends;
  uint64_t n, room, key;
  uint64_t *slots, mask;
} pool;

static const uint8_t *bytes_at(const pool *p, int64_t begin) {
  return (uint64_t)begin < p->blob_size ? p->blob + begin : p->built + ((uint64_t)begin - p->blob_size);
}

/* The legacy template is hashed as its digest and its name padded with zeros to 256 bytes. */
static int build_legacy(pool *p, uint64_t list_at, uint64_t size, const pv_ima_entry *e) {
  if (e->path_size > IMA_LEGACY_NAME || !ima_piece_fits(e->path_at, e->path_size, size) ||
      !ima_piece_fits(e->file_digest_at, IMA_LEGACY_DIGEST, size)) {
    return PV_BAD_ARGUMENT;
  }
  if (p->capacity - p->used < IMA_LEGACY_MESSAGE) {
    return PV_NO_ROOM;
  }
  uint8_t *out = p->built + p->used;
  memcpy(out, p->blob + list_at + e->file_digest_at, IMA_LEGACY_DIGEST);
  memcpy(out + IMA_LEGACY_DIGEST, p->blob + list_at + e->path_at, e->path_size);
  memset(out + IMA_LEGACY_DIGEST + e->path_size, 0, IMA_LEGACY_NAME + 1 - e->path_size);
  p->begins[p->n] = (int64_t)(p->blob_size + p->used);
  p->ends[p->n] = p->begins[p->n] + IMA_LEGACY_MESSAGE;
  return PV_OK;
}

/* Puts an entry's message at the end of the pool, where it is not yet one of its messages. */
static int put_message(pool *p, uint64_t list_at, uint64_t size, const pv_ima_entry *e) {
  if (p->n == p->room || !ima_piece_fits(e->data_at, e->data_size, size)) {
    return PV_BAD_ARGUMENT;
  }
  if (e->template_id == PV_IMA_LEGACY) {
    return build_legacy(p, list_at, size, e);
  }
  p->begins[p->n] = (int64_t)(list_at + e->data_at);
  p->ends[p->n] = p->begins[p->n] + e->data_size;
  return PV_OK;
}

/* The number of the message that equals the one at the end of the pool, which may be that itself. */
static uint64_t find_equal(pool *p, uint64_t hash) {
  const uint8_t *own = bytes_at(p, p->begins[p->n]);
  int64_t size = p->ends[p->n] - p->begins[p->n];
  uint64_t slot = hash & p->mask, tag = hash & 0xFFFFFFFF00000000;
  for (; p->slots[slot]; slot = (slot + 1) & p->mask) {
    uint64_t other = (p->slots[slot] & 0xFFFFFFFF) - 1;
    if ((p->slots[slot] & 0xFFFFFFFF00000000) == tag && p->ends[other] - p->begins[other] == size &&
        memcmp(bytes_at(p, p->begins[other]), own, (uint64_t)size) == 0) {
      return other;
    }
  }
  p->slots[slot] = tag | (p->n + 1);
  return p->n;
}

/* Hashes of the data of some entries, whose slots are on their way then. Only proposes: a legacy entry's data will do. */
static int hash_ahead(const pool *p, uint64_t list_at, uint64_t size, const pv_ima_entry *e, uint64_t n,
                      uint64_t *hashes) {
  for (uint64_t i = 0; i < n; i++) {
    if (!ima_piece_fits(e[i].data_at, e[i].data_size, size)) {
      return PV_BAD_ARGUMENT;
    }
    hashes[i] = pv_mix(p->key, p->blob + list_at + e[i].data_at, e[i].data_size);
    __builtin_prefetch(&p->slots[hashes[i] & p->mask]);
  }
  return PV_OK;
}

static int pool_list(pool *p, uint64_t list_at, uint64_t size, const pv_ima_entry *entries, uint64_t n,
                     uint32_t *message_of) {
  uint64_t hashes[AHEAD];
  for (uint64_t k = 0; k < n; k++) {
    if (p->key && k % AHEAD == 0) {
      int status = hash_ahead(p, list_at, size, entries + k, n - k < AHEAD ? n - k : AHEAD, hashes);
      if (status != PV_OK) {
        return status;
      }
    }
    int status = put_message(p, list_at, size, &entries[k]);
    if (status != PV_OK) {
      return status;
    }
    uint64_t number = p->key ? find_equal(p, hashes[k % AHEAD]) : p->n;
    message_of[k] = (uint32_t)number;
    if (number == p->n) {
      p->used += entries[k].template_id == PV_IMA_LEGACY ? IMA_LEGACY_MESSAGE : 0;
      p->n++;
    }
  }
  return PV_OK;
}

int pv_ima_messages(const uint8_t *blob, uint64_t blob_size, const int64_t *offsets, uint64_t n_lists,
                    const pv_ima_list *lists, const pv_ima_entry *entries, uint64_t n_entries, uint64_t key,
                    uint64_t *slots, uint64_t n_slots, uint8_t *built, uint64_t capacity, int64_t *begins,
                    int64_t *ends, uint32_t *message_of, uint64_t *n_messages, uint64_t *n_built) {
  pool p = {blob, blob_size, built, capacity, 0, begins, ends, 0, n_entries, key, slots, n_slots - 1};
  if (n_entries >= UINT32_MAX || (key && (!n_slots || n_slots & p.mask || n_slots / 2 < n_entries)) ||
      !pv_offsets_are_sane(offsets, 0, n_lists) || (uint64_t)offsets[n_lists] > blob_size) {
    return PV_BAD_ARGUMENT;
  }
  if (key) {
    memset(slots, 0, n_slots * sizeof *slots);
  }
  for (uint64_t i = 0; i < n_lists; i++) {
    if (!ima_row_fits(&lists[i], n_entries)) {
      return PV_BAD_ARGUMENT;
    }
    int status = pool_list(&p, (uint64_t)offsets[i], (uint64_t)(offsets[i + 1] - offsets[i]),
                           entries + lists[i].first_entry, lists[i].n_entries, message_of + lists[i].first_entry);
    if (status != PV_OK) {
      return status;
    }
  }
  *n_messages = p.n;
  *n_built = p.used;
  return PV_OK;
}

int pv_ima_mismatch(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                    const pv_ima_entry *entries, uint64_t n_entries, uint32_t bank, const uint32_t *message_of,
                    const uint8_t *digests, uint64_t n_messages, uint32_t digest_size, uint8_t *differs) {
  uint32_t width = pv_digest_size(bank);
  if (!width || digest_size > width) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = 0; i < n_lists; i++) {
    if (!ima_row_fits(&lists[i], n_entries)) {
      return PV_BAD_ARGUMENT;
    }
    if (lists[i].bank != bank) {
      continue;
    }
    uint64_t size = (uint64_t)(offsets[i + 1] - offsets[i]);
    for (uint64_t k = lists[i].first_entry, end = k + lists[i].n_entries; k < end; k++) {
      if (message_of[k] >= n_messages || !ima_piece_fits(entries[k].digest_at, width, size)) {
        return PV_BAD_ARGUMENT;
      }
      static const uint8_t zeros[IMA_MAX_DIGEST];
      const uint8_t *shown = blob + offsets[i] + entries[k].digest_at;
      differs[k] = !(entries[k].flags & PV_IMA_VIOLATION) &&
                   (memcmp(shown, digests + (uint64_t)message_of[k] * digest_size, digest_size) != 0 ||
                    memcmp(shown + digest_size, zeros, width - digest_size) != 0);
    }
  }
  return PV_OK;
}

/* One digest of a chain, zeros after it. Called with constant sizes where it matters, so that it is a few moves. */
static inline void put_digest(uint8_t *out, const uint8_t *digest, uint32_t size, uint32_t width) {
  memcpy(out, digest, size);
  memset(out + size, 0, width - size);
}

int pv_ima_chains(uint64_t n_lists, const pv_ima_list *lists, const pv_ima_entry *entries, uint64_t n_entries,
                  uint32_t pcr, uint32_t bank, const uint32_t *message_of, const uint8_t *digests, uint64_t n_messages,
                  uint32_t digest_size, uint32_t violation_size, uint64_t *chain_at, uint8_t *chains,
                  uint64_t capacity) {
  uint32_t width = pv_digest_size(bank);
  uint64_t n = 0;
  if (!width || digest_size > width || violation_size > width) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = 0; i < n_lists; i++) {
    chain_at[i] = n;
    if (!ima_row_fits(&lists[i], n_entries)) {
      return PV_BAD_ARGUMENT;
    }
    uint64_t k = lists[i].first_entry, end = k + (lists[i].fault ? 0 : lists[i].n_entries);
    for (; k < end; k++) {
      if (entries[k].pcr != pcr) {
        continue;
      }
      if (n == capacity) {
        return PV_NO_ROOM;
      }
      if (message_of[k] >= n_messages) {
        return PV_BAD_ARGUMENT;
      }
      const uint8_t *digest = digests + (uint64_t)message_of[k] * digest_size;
      if (entries[k].flags & PV_IMA_VIOLATION) {
        memset(chains + n * width, 0xFF, violation_size);
        memset(chains + n * width + violation_size, 0, width - violation_size);
      } else if (digest_size == 32 && width == 32) {
        put_digest(chains + n * 32, digest, 32, 32);
      } else {
        put_digest(chains + n * width, digest, digest_size, width);
      }
      n++;
    }
  }
  chain_at[n_lists] = n;
  return PV_OK;
}
