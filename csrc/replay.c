/* Replay (SPEC 4): scan, gather and extend, tile by tile, so that a tile's logs, events and digests stay in cache
 * from one step to the next. */
#include <string.h>

#include "chain.h"
#include "dispatch.h"
#include "eventlog.h"
#include "lanes.h"
#include "share.h"

enum {
  /* PERFORMANCE 4: beyond about 1 MB, or some 128 logs, the walk leaves the cache; fewer than 32 starve wide kernels. */
  TILE_BYTES = 1 << 20,
  TILE_LOGS = 128,
  ALIGNMENT = 64,
};

static int is_variant(uint32_t bank, int32_t variant) {
  return bank < PV_BANKS && (variant == -1 || (variant >= 0 && pv_kernel_at(bank, (uint32_t)variant)));
}

static uint64_t log_size(const int64_t *offsets, uint64_t i) { return (uint64_t)(offsets[i + 1] - offsets[i]); }

/* Where the tile that begins at `first` ends: at least one log, whatever its size. */
static uint64_t tile_end(const int64_t *offsets, uint64_t first, uint64_t last) {
  uint64_t end = first, bytes = 0;
  do {
    bytes += log_size(offsets, end++);
  } while (end < last && end - first < TILE_LOGS && log_size(offsets, end) <= TILE_BYTES &&
           bytes + log_size(offsets, end) <= TILE_BYTES);
  return end;
}

static uint64_t aligned(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Bytes of all digests of one bank that a log can hold: they are part of it, and so are at most 200,000. */
static uint64_t digest_room(uint64_t size) {
  uint64_t most = (uint64_t)PV_MAX_EVENTS * 64;
  return size < most ? size : most;
}

/* How a tile's scratch is cut: events, chain offsets, digests. */
typedef struct {
  uint64_t events, chain_at, digests;
} layout;

static layout tile_layout(const int64_t *offsets, uint64_t first, uint64_t end) {
  layout room = {0, 0, 0};
  room.events = pv_scan_capacity(offsets, first, end);
  room.chain_at = PV_PCRS * (end - first) + 1;
  for (uint64_t i = first; i < end; i++) {
    room.digests += digest_room(log_size(offsets, i));
  }
  return room;
}

static uint64_t layout_size(const layout *room) {
  return aligned(room->events * sizeof(pv_event)) + aligned(room->chain_at * sizeof(uint64_t)) + aligned(room->digests);
}

/* Logs are done in blocks in which equal ones are found, and a block in tiles. */
static uint64_t block_end(uint64_t first, uint64_t last) {
  return last - first < PV_SHARE_MOST ? last : first + PV_SHARE_MOST;
}

uint64_t pv_replay_scratch(const int64_t *offsets, uint64_t first, uint64_t last) {
  uint64_t most = 0;
  while (first < last) {
    for (uint64_t block = block_end(first, last); first < block;) {
      uint64_t end = tile_end(offsets, first, block);
      layout room = tile_layout(offsets, first, end);
      uint64_t size = layout_size(&room);
      most = size > most ? size : most;
      first = end;
    }
  }
  return most;
}

/* Start values (SPEC 4.2): zeros; PCR 0 ends in the startup locality; PCRs 17-22 are all ones until a D-RTM launch,
 * which shows as an extend of PCR 17, resets them to zeros. */
static void start_values(const pv_log *log, uint8_t *values, uint32_t size) {
  memset(values, 0, (size_t)PV_PCRS * size);
  values[size - 1] = (uint8_t)log->locality;
  if (!(log->touched >> 17 & 1)) {
    memset(values + 17 * (size_t)size, 0xFF, 6 * (size_t)size);
  }
}

int pv_extend(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests, const uint64_t *chain_at,
              uint64_t first, uint64_t last, uint8_t *values, pv_usage *usage) {
  if (!is_variant(bank, variant) || first > last) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t c = first; c < last; c++) {
    if (chain_at[c + 1] < chain_at[c]) {
      return PV_BAD_ARGUMENT;
    }
  }
  pv_extend_chains(bank, variant, key, digests, chain_at, first, last, values, usage);
  return PV_OK;
}

int pv_hash(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *offsets,
            uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage) {
  if (!is_variant(bank, variant) || !pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  pv_hash_messages(bank, variant, key, blob, offsets, offsets + 1, first, last, digests, usage);
  return PV_OK;
}

int pv_hash_pieces(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, uint64_t blob_size,
                   const int64_t *begins, const int64_t *ends, uint64_t first, uint64_t last, uint8_t *digests,
                   pv_usage *usage) {
  if (!is_variant(bank, variant) || first > last) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t i = first; i < last; i++) {
    if (begins[i] < 0 || ends[i] < begins[i] || (uint64_t)ends[i] > blob_size) {
      return PV_BAD_ARGUMENT;
    }
  }
  pv_hash_messages(bank, variant, key, blob, begins, ends, first, last, digests, usage);
  return PV_OK;
}

/* One bank of one tile: `values` are the rows of the tile. */
static int replay_bank(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t end, uint32_t bank,
                       int32_t variant, uint64_t key, const pv_log *logs, const pv_event *events, uint64_t *chain_at,
                       uint8_t *digests, uint64_t room, uint8_t *values) {
  uint32_t size = pv_digest_size(bank);
  int status = pv_gather(blob, offsets, first, end, logs, events, bank, chain_at, digests, room / size);
  if (status != PV_OK) {
    return status;
  }
  for (uint64_t i = 0; i < end - first; i++) {
    uint8_t *row = values + i * PV_PCRS * size;
    if (logs[i].fault || !(logs[i].banks >> bank & 1)) {
      memset(row, 0, (size_t)PV_PCRS * size);
    } else {
      start_values(&logs[i], row, size);
    }
  }
  pv_extend_chains(bank, variant, key, digests, chain_at, 0, (end - first) * PV_PCRS, values, NULL);
  return PV_OK;
}

/* One tile of a block of logs: banks, variants and key as in pv_replay, values by bank. */
typedef struct {
  const uint8_t *blob;
  const int64_t *offsets;
  uint32_t banks;
  const int32_t *variants;
  uint64_t key;
  pv_log *logs;
  uint8_t *const *values;
  uint8_t *scratch;
  uint64_t scratch_size;
} call;

static int replay_tile(const call *c, uint64_t first, uint64_t end, uint64_t block, const uint32_t *same_as) {
  layout room = tile_layout(c->offsets, first, end);
  if (layout_size(&room) > c->scratch_size) {
    return PV_NO_ROOM;
  }
  uint64_t n_events;
  pv_event *events = (pv_event *)(void *)c->scratch;
  uint64_t *chain_at = (uint64_t *)(void *)(c->scratch + aligned(room.events * sizeof(pv_event)));
  uint8_t *digests = (uint8_t *)chain_at + aligned(room.chain_at * sizeof(uint64_t));
  int status = pv_scan_distinct(c->blob, c->offsets, first, end, block, same_as, c->logs, events, room.events, &n_events);
  for (uint32_t bank = 0; bank < PV_BANKS && status == PV_OK; bank++) {
    if (c->banks >> bank & 1) {
      status = replay_bank(c->blob, c->offsets, first, end, bank, c->variants[bank], c->key, c->logs + first, events,
                           chain_at, digests, room.digests,
                           c->values[bank] + first * PV_PCRS * pv_digest_size(bank));
    }
  }
  for (uint64_t i = first; i < end; i++) {
    c->logs[i].first_event = 0; /* it lies in scratch */
  }
  return status;
}

/* The rows of logs that stand for another: as that one's. */
static void copy_rows(const call *c, uint64_t block, uint32_t n, const uint32_t *same_as) {
  for (uint32_t i = 0; i < n; i++) {
    uint64_t to = block + i, from = block + same_as[i];
    if (to == from) {
      continue;
    }
    c->logs[to] = c->logs[from];
    for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
      if (c->banks >> bank & 1) {
        uint64_t size = (uint64_t)PV_PCRS * pv_digest_size(bank);
        memcpy(c->values[bank] + to * size, c->values[bank] + from * size, size);
      }
    }
  }
}

static int replay_block(const call *c, uint64_t block, uint64_t last) {
  uint32_t same_as[PV_SHARE_MOST], n = (uint32_t)(last - block);
  uint64_t first = block;
  pv_share_items(c->blob, c->offsets, block, n, c->key, same_as);
  while (first < last) {
    uint64_t end = tile_end(c->offsets, first, last);
    int status = replay_tile(c, first, end, block, same_as);
    if (status != PV_OK) {
      return status;
    }
    first = end;
  }
  copy_rows(c, block, n, same_as);
  return PV_OK;
}

int pv_replay(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint32_t banks,
              const int32_t *variants, uint64_t key, pv_log *logs, uint8_t *sha1, uint8_t *sha256, uint8_t *sha384,
              uint8_t *sha512, uint8_t *sm3_256, uint8_t *scratch, uint64_t scratch_size) {
  uint8_t *const values[PV_BANKS] = {sha1, sha256, sha384, sha512, sm3_256};
  const call c = {blob, offsets, banks, variants, key, logs, values, scratch, scratch_size};
  if (banks >> PV_BANKS || !pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    if (banks >> bank & 1 && (!values[bank] || !is_variant(bank, variants[bank]))) {
      return PV_BAD_ARGUMENT;
    }
  }
  while (first < last) {
    uint64_t end = block_end(first, last);
    int status = replay_block(&c, first, end);
    if (status != PV_OK) {
      return status;
    }
    first = end;
  }
  return PV_OK;
}
