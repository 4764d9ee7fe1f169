/* From IMA entries to what PCRs were extended with (SPEC 7.4): messages to hash, each distinct one once, and chains of
 * their digests. Every piece of an entry is checked against its list again: entries come back from the caller. */
#include <string.h>

#include "ima.h"
#include "share.h"

/* The legacy template is hashed as its digest and its name padded with zeros to 256 bytes; all others as they lie. */
static uint64_t message_size(const pv_ima_entry *e) {
  return e->template_id == PV_IMA_LEGACY ? IMA_LEGACY_MESSAGE : e->data_size;
}

static int write_message(const uint8_t *list, uint64_t size, const pv_ima_entry *e, uint8_t *out) {
  if (!ima_piece_fits(e->data_at, e->data_size, size)) {
    return 0;
  }
  if (e->template_id != PV_IMA_LEGACY) {
    memcpy(out, list + e->data_at, e->data_size);
    return 1;
  }
  if (e->path_size > IMA_LEGACY_NAME || !ima_piece_fits(e->path_at, e->path_size, size) ||
      !ima_piece_fits(e->file_digest_at, IMA_LEGACY_DIGEST, size)) {
    return 0;
  }
  memcpy(out, list + e->file_digest_at, IMA_LEGACY_DIGEST);
  memcpy(out + IMA_LEGACY_DIGEST, list + e->path_at, e->path_size);
  memset(out + IMA_LEGACY_DIGEST + e->path_size, 0, IMA_LEGACY_NAME + 1 - e->path_size);
  return 1;
}

/* The messages so far. A slot holds half of a message's hash and its number plus one. */
typedef struct {
  const uint8_t *bytes;
  const int64_t *at;
  uint64_t n, key;
  uint64_t *slots, mask;
} pool;

/* The number of the message that equals the one at the end of the pool, which may be that itself. */
static uint64_t find_equal(pool *p) {
  const uint8_t *own = p->bytes + p->at[p->n];
  uint64_t size = (uint64_t)(p->at[p->n + 1] - p->at[p->n]), hash = pv_mix(p->key, own, size);
  uint64_t slot = hash & p->mask, tag = hash & 0xFFFFFFFF00000000;
  for (; p->slots[slot]; slot = (slot + 1) & p->mask) {
    uint64_t other = (p->slots[slot] & 0xFFFFFFFF) - 1;
    if ((p->slots[slot] & 0xFFFFFFFF00000000) == tag && (uint64_t)(p->at[other + 1] - p->at[other]) == size &&
        memcmp(p->bytes + p->at[other], own, size) == 0) {
      return other;
    }
  }
  p->slots[slot] = tag | (p->n + 1);
  return p->n;
}

int pv_ima_messages(const uint8_t *blob, const int64_t *offsets, uint64_t n_lists, const pv_ima_list *lists,
                    const pv_ima_entry *entries, uint64_t n_entries, uint64_t key, uint64_t *slots, uint64_t n_slots,
                    uint8_t *messages, uint64_t capacity, int64_t *message_at, uint32_t *message_of,
                    uint64_t *n_messages) {
  pool p = {messages, message_at, 0, key, slots, n_slots - 1};
  uint64_t used = 0;
  if (n_entries >= UINT32_MAX || (key && (n_slots & p.mask || n_slots / 2 < n_entries || !n_slots))) {
    return PV_BAD_ARGUMENT;
  }
  if (key) {
    memset(slots, 0, n_slots * sizeof *slots);
  }
  message_at[0] = 0;
  for (uint64_t i = 0; i < n_lists; i++) {
    if (!ima_row_fits(&lists[i], n_entries)) {
      return PV_BAD_ARGUMENT;
    }
    const uint8_t *list = blob + offsets[i];
    uint64_t list_size = (uint64_t)(offsets[i + 1] - offsets[i]);
    for (uint64_t k = lists[i].first_entry, end = k + lists[i].n_entries; k < end; k++) {
      uint64_t size = message_size(&entries[k]);
      if (size > capacity - used) {
        return PV_NO_ROOM;
      }
      if (p.n == n_entries || !write_message(list, list_size, &entries[k], messages + used)) {
        return PV_BAD_ARGUMENT;
      }
      message_at[p.n + 1] = (int64_t)(used + size);
      uint64_t number = key ? find_equal(&p) : p.n;
      message_of[k] = (uint32_t)number;
      if (number == p.n) {
        p.n++;
        used += size;
      }
    }
  }
  *n_messages = p.n;
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
