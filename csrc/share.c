/* Exact sharing (PERFORMANCE 5): a keyed hash finds candidates, memcmp decides. The key is random a process, so that
 * nobody can prepare contents that all fall into one slot. */
#include "share.h"

#include <string.h>

#include "eventlog.h"

enum {
  /* A sample is looked at first: runs, since what repeats often lies side by side (the boots of one machine). */
  RUN = 16,
  RUN_EVERY = 256,
  WORTH = 20,  /* sharing goes on where at least 1/20 of the sample's bytes repeat: looking costs less */
  FEWEST = 64, /* fewer contents are done before they are looked at */
  AHEAD = 2048, /* bytes that are asked for before they are needed, into the next contents too: a fifth less time when cold */
};

/* 64 x 64 bits multiplied, both halves folded: each bit of the result depends on all bits of both. */
static uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ typedef unsigned __int128 wide;
  wide product = (wide)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static const uint64_t odd[4] = {0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93};

/* Four accumulators, since one would wait for its own multiplications. */
uint64_t pv_mix(uint64_t key, const uint8_t *p, uint64_t n) {
  const uint64_t keys[4] = {key ^ odd[0], key ^ odd[1], key ^ odd[2], key ^ odd[3]};
  uint64_t h[4] = {key ^ n, key + odd[1], key ^ odd[2], key + odd[3]};
  for (; n >= 64; n -= 64, p += 64) {
    __builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
    for (int i = 0; i < 4; i++) {
      h[i] = fold(load(p + 16 * i) ^ keys[i], load(p + 16 * i + 8) ^ h[i]);
    }
  }
  for (; n >= 16; n -= 16, p += 16) {
    h[0] = fold(load(p) ^ keys[0], load(p + 8) ^ h[0]);
  }
  uint8_t rest[16] = {0};
  if (n) {
    memcpy(rest, p, n);
  }
  h[1] = fold(load(rest) ^ keys[1], load(rest + 8) ^ h[1]);
  return fold(h[0] ^ h[2] ^ odd[0], h[1] ^ h[3] ^ key);
}

static int equal(const pv_content *a, const pv_content *b) {
  for (int i = 0; i < 2; i++) {
    if (a->size[i] != b->size[i] || (a->size[i] && memcmp(a->bytes[i], b->bytes[i], a->size[i]) != 0)) {
      return 0;
    }
  }
  return 1;
}

/* Looks at the contents that have a first piece: the others are no work. Returns the bytes of first pieces that equal
 * an earlier one; `total` receives all. `slots` has room for twice PV_SHARE_MOST. */
static uint64_t look(pv_content_of *content, const void *context, uint64_t first, uint32_t n, int sample, uint64_t key,
                     uint32_t *slots, uint32_t *same_as, uint64_t *total) {
  uint32_t mask = 2;
  while (mask < 2 * (sample ? n / RUN_EVERY * RUN + RUN : n)) {
    mask *= 2;
  }
  memset(slots, 0, mask-- * sizeof *slots);
  uint64_t repeated = 0;
  *total = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (sample && i % RUN_EVERY == RUN) {
      i += RUN_EVERY - RUN;
      if (i >= n) {
        break;
      }
    }
    pv_content own = content(context, first + i);
    if (!own.size[0]) {
      continue;
    }
    uint32_t slot = (uint32_t)pv_mix(pv_mix(key, own.bytes[0], own.size[0]), own.bytes[1], own.size[1]) & mask;
    *total += own.size[0];
    for (; slots[slot]; slot = (slot + 1) & mask) { /* number of a content, plus one */
      pv_content other = content(context, first + slots[slot] - 1);
      if (equal(&own, &other)) {
        same_as[i] = slots[slot] - 1;
        repeated += own.size[0];
        break;
      }
    }
    if (!slots[slot]) {
      slots[slot] = i + 1;
    }
  }
  return repeated;
}

uint32_t pv_share_contents(pv_content_of *content, const void *context, uint64_t first, uint32_t n, uint64_t key,
                           uint32_t *same_as) {
  uint32_t slots[2 * PV_SHARE_MOST], alone = 0; /* a power of two */
  uint64_t total;
  for (uint32_t i = 0; i < n; i++) {
    same_as[i] = i;
  }
  if (!key || n < FEWEST) {
    return n;
  }
  uint64_t repeated = look(content, context, first, n, 1, key, slots, same_as, &total);
  int worth = repeated && repeated * WORTH >= total;
  if (worth) {
    look(content, context, first, n, 0, key, slots, same_as, &total);
  }
  for (uint32_t i = 0; i < n; i++) {
    same_as[i] = worth ? same_as[i] : i;
    alone += same_as[i] == i;
  }
  return alone;
}

typedef struct {
  const uint8_t *blob;
  const int64_t *offsets;
} batch;

static pv_content item(const void *context, uint64_t i) {
  const batch *b = context;
  return (pv_content){{b->blob + b->offsets[i], NULL}, {(uint64_t)(b->offsets[i + 1] - b->offsets[i]), 0}};
}

uint32_t pv_share_items(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint32_t n, uint64_t key,
                        uint32_t *same_as) {
  const batch b = {blob, offsets};
  return pv_share_contents(item, &b, first, n, key, same_as);
}

int pv_group(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t key,
             uint64_t *same_as) {
  if (!pv_offsets_are_sane(offsets, first, last)) {
    return PV_BAD_ARGUMENT;
  }
  while (first < last) {
    uint32_t own[PV_SHARE_MOST], n = last - first < PV_SHARE_MOST ? (uint32_t)(last - first) : PV_SHARE_MOST;
    pv_share_items(blob, offsets, first, n, key, own);
    for (uint32_t i = 0; i < n; i++) {
      same_as[first + i] = first + own[i];
    }
    first += n;
  }
  return PV_OK;
}
