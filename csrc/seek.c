/* Which prefix of a chain leads to a value: extends as lanes.c does, but looks at every step, so that the walk over a
 * chain stops where it is found. */
#include "dispatch.h"
#include "pyverify.h"

typedef struct {
  const pv_hash_shape *shape;
  uint32_t bank;
  int32_t variant;
  const uint8_t *digests;
  const uint64_t *chain_at;
  uint8_t *values;
  const uint8_t *targets;
  uint64_t *found;
} search;

typedef struct {
  _Alignas(64) uint8_t state[PV_STATE_WORDS * 8 * PV_MAX_LANES], target[PV_STATE_WORDS * 8 * PV_MAX_LANES];
  const uint8_t *at[PV_MAX_LANES];
  uint64_t left[PV_MAX_LANES]; /* 0: the lane is free */
  uint64_t chain[PV_MAX_LANES];
  const pv_kernel *kernel;
  uint32_t n_live;
} lanes;

static int is_target(const search *s, uint64_t chain) {
  uint64_t size = s->shape->digest_size;
  return memcmp(s->values + chain * size, s->targets + chain * size, size) == 0;
}

/* One lane's words from big-endian bytes, and back. */
static void load(const pv_hash_shape *shape, uint8_t *words, uint32_t n_lanes, uint32_t lane, const uint8_t *bytes) {
  for (uint32_t i = 0; i < shape->digest_size / shape->word_size; i++) {
    if (shape->word_size == 4) {
      ((uint32_t *)(void *)words)[i * n_lanes + lane] = pv_be32(bytes + 4 * i);
    } else {
      ((uint64_t *)(void *)words)[i * n_lanes + lane] = pv_be64(bytes + 8 * i);
    }
  }
}

static void store_words(const pv_hash_shape *shape, const uint8_t *words, uint32_t n_lanes, uint32_t lane,
                        uint8_t *bytes) {
  for (uint32_t i = 0; i < shape->digest_size / shape->word_size; i++) {
    if (shape->word_size == 4) {
      pv_put_be32(bytes + 4 * i, ((const uint32_t *)(const void *)words)[i * n_lanes + lane]);
    } else {
      pv_put_be64(bytes + 8 * i, ((const uint64_t *)(const void *)words)[i * n_lanes + lane]);
    }
  }
}

static void store(const search *s, const lanes *l, uint32_t lane) {
  store_words(s->shape, l->state, l->kernel->lanes, lane, s->values + l->chain[lane] * s->shape->digest_size);
}

/* Whether the first 32 bits of a lane's value are those of its target: nearly always enough to say no. */
static int may_match(const search *s, const lanes *l, uint32_t lane) {
  if (s->shape->word_size == 4) {
    return ((const uint32_t *)(const void *)l->state)[lane] == ((const uint32_t *)(const void *)l->target)[lane];
  }
  return ((const uint64_t *)(const void *)l->state)[lane] == ((const uint64_t *)(const void *)l->target)[lane];
}

static void begin(const search *s, lanes *l, uint32_t lane, uint64_t chain, uint64_t done) {
  uint64_t size = s->shape->digest_size;
  load(s->shape, l->state, l->kernel->lanes, lane, s->values + chain * size);
  load(s->shape, l->target, l->kernel->lanes, lane, s->targets + chain * size);
  l->chain[lane] = chain;
  l->at[lane] = s->digests + (s->chain_at[chain] + done) * size;
  l->left[lane] = s->chain_at[chain + 1] - s->chain_at[chain] - done;
}

/* Digests of its chain that a lane has been extended by. */
static uint64_t done(const search *s, const lanes *l, uint32_t lane) {
  return s->chain_at[l->chain[lane] + 1] - s->chain_at[l->chain[lane]] - l->left[lane];
}

/* The best kernel for so many chains, if it can hold those that are under way; they move to it. */
static void choose(const search *s, lanes *l, uint64_t jobs) {
  uint32_t variant = (uint32_t)s->variant, n = 0;
  const pv_kernel *kernel =
      s->variant < 0 ? pv_kernel_for(s->bank, jobs, &variant) : pv_kernel_at(s->bank, variant);
  uint64_t chains[PV_MAX_LANES], steps[PV_MAX_LANES];
  if (l->kernel && (kernel == l->kernel || kernel->lanes < l->n_live)) {
    return;
  }
  for (uint32_t lane = 0; l->kernel && lane < l->kernel->lanes; lane++) {
    if (l->left[lane]) {
      store(s, l, lane);
      chains[n] = l->chain[lane];
      steps[n++] = done(s, l, lane);
      l->left[lane] = 0;
    }
  }
  l->kernel = kernel;
  for (uint32_t i = 0; i < n; i++) {
    begin(s, l, i, chains[i], steps[i]);
  }
}

/* All lanes forward by one digest. */
static void advance(const search *s, lanes *l) {
  uint32_t n = l->kernel->lanes;
  const uint8_t *any = NULL;
  for (uint32_t lane = 0; lane < n; lane++) {
    any = l->left[lane] ? l->at[lane] : any;
  }
  for (uint32_t lane = 0; lane < n; lane++) {
    l->at[lane] = l->left[lane] ? l->at[lane] : any;
  }
  l->kernel->extend(l->state, l->at, 1);
  for (uint32_t lane = 0; lane < n; lane++) {
    if (!l->left[lane]) {
      continue;
    }
    l->at[lane] += s->shape->digest_size;
    l->left[lane]--;
    int maybe = may_match(s, l, lane);
    if (!maybe && l->left[lane]) {
      continue;
    }
    store(s, l, lane);
    if (is_target(s, l->chain[lane])) {
      s->found[l->chain[lane]] = done(s, l, lane);
      l->left[lane] = 0;
    }
    l->n_live -= !l->left[lane];
  }
}

/* The next chain that needs a step: neither empty nor at its target from the start. `last` where there is none. */
static uint64_t next_chain(const search *s, uint64_t chain, uint64_t last) {
  for (; chain < last; chain++) {
    s->found[chain] = is_target(s, chain) ? 0 : UINT64_MAX;
    if (s->found[chain] && s->chain_at[chain + 1] > s->chain_at[chain]) {
      break;
    }
  }
  return chain;
}

static void run(const search *s, uint64_t first, uint64_t last) {
  lanes l;
  l.kernel = NULL;
  l.n_live = 0;
  memset(l.left, 0, sizeof l.left);
  memset(l.state, 0, sizeof l.state); /* lanes that never get a chain compute with it too */
  uint64_t next = next_chain(s, first, last);
  while (l.n_live || next < last) {
    if (!l.kernel || next == last) {
      choose(s, &l, l.n_live + (last - next));
    }
    for (uint32_t lane = 0; lane < l.kernel->lanes && next < last; lane++) {
      if (!l.left[lane]) {
        begin(s, &l, lane, next, 0);
        l.n_live++;
        next = next_chain(s, next + 1, last);
      }
    }
    advance(s, &l);
  }
}

int pv_seek(uint32_t bank, int32_t variant, const uint8_t *digests, const uint64_t *chain_at, uint64_t first,
            uint64_t last, uint8_t *values, const uint8_t *targets, uint64_t *found) {
  const pv_hash_shape *shape = pv_shape(bank);
  if (!shape || variant < -1 || (variant >= 0 && !pv_kernel_at(bank, (uint32_t)variant)) || first > last) {
    return PV_BAD_ARGUMENT;
  }
  for (uint64_t c = first; c < last; c++) {
    if (chain_at[c + 1] < chain_at[c]) {
      return PV_BAD_ARGUMENT;
    }
  }
  const search s = {shape, bank, variant, digests, chain_at, values, targets, found};
  run(&s, first, last);
  return PV_OK;
}

int pv_trace(uint32_t bank, int32_t variant, const uint8_t *digests, uint64_t n, uint8_t *values) {
  const pv_hash_shape *shape = pv_shape(bank);
  uint32_t chosen = (uint32_t)variant;
  if (!shape || variant < -1 || (variant >= 0 && !pv_kernel_at(bank, chosen))) {
    return PV_BAD_ARGUMENT;
  }
  const pv_kernel *kernel = variant < 0 ? pv_kernel_for(bank, 1, &chosen) : pv_kernel_at(bank, chosen);
  _Alignas(64) uint8_t state[PV_STATE_WORDS * 8 * PV_MAX_LANES] = {0};
  const uint8_t *at[PV_MAX_LANES];
  load(shape, state, kernel->lanes, 0, values);
  for (uint64_t i = 0; i < n; i++) {
    for (uint32_t lane = 0; lane < kernel->lanes; lane++) {
      at[lane] = digests + i * shape->digest_size;
    }
    kernel->extend(state, at, 1);
    store_words(shape, state, kernel->lanes, 0, values + (i + 1) * shape->digest_size);
  }
  return PV_OK;
}
