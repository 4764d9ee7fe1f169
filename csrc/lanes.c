/* Lane scheduling, once for all kernels. Jobs (chains to extend, messages to hash) are taken longest first; a lane whose
 * job ends takes the next one, so that all lanes end at nearly the same time. Between two such ends the kernel runs
 * without interruption, its state in registers. When fewer jobs are left than lanes, they move to the kernel that
 * finishes so few soonest (PERFORMANCE 3). */
#include "lanes.h"

#include "dispatch.h"
#include "share.h"

enum {
  BLOCK_JOBS = PV_SHARE_MOST, /* sorted at a time, on the stack; each block ends with one drain */
  EXACT = 128,       /* lengths below have a bucket each, longer ones sixteen for each power of two */
  BUCKETS = EXACT + 16 * (64 - 7),
  MAX_TAIL = 256,
};

typedef struct {
  const pv_hash_shape *shape;
  uint32_t bank;
  int32_t variant; /* -1: the best for what is left */
  uint64_t key;    /* for sharing; 0: none */
  int hashing;
  const uint8_t *data; /* digests, or the blob of messages */
  const uint64_t *chain_at;
  const int64_t *begins, *ends; /* of messages */
  uint8_t *out; /* PCR values in and out, or digests out */
  pv_usage *usage;
} work;

/* A job that is under way, outside a lane. */
typedef struct {
  const uint8_t *at;
  uint64_t left;
  uint64_t job;
  int in_tail;
  uint8_t words[PV_STATE_WORDS * 8], tail[MAX_TAIL];
} parked_job;

typedef struct {
  _Alignas(64) uint8_t state[PV_STATE_WORDS * 8 * PV_MAX_LANES];
  const uint8_t *at[PV_MAX_LANES];
  uint64_t left[PV_MAX_LANES]; /* 0: the lane is free */
  uint64_t job[PV_MAX_LANES];
  int in_tail[PV_MAX_LANES];
  uint8_t tail[PV_MAX_LANES][MAX_TAIL];
  parked_job parked[PV_MAX_LANES];
  uint32_t n_parked, n_live;
  const pv_kernel *kernel;
  uint32_t variant;
} lanes;

/* Block sizes are powers of two, and a division by one that the compiler does not know takes longer than a round. */
static unsigned block_shift(const work *w) { return w->shape->word_size == 4 ? 6 : 7; }

static uint64_t message_size(const work *w, uint64_t job) {
  return (uint64_t)(w->ends[job] - w->begins[job]);
}

/* Digests or blocks that a job takes. */
static uint64_t length(const work *w, uint64_t job) {
  if (!w->hashing) {
    return w->chain_at[job + 1] - w->chain_at[job];
  }
  uint64_t block = w->shape->block_size;
  return (message_size(w, job) + 1 + block / 8 + block - 1) >> block_shift(w);
}

static uint32_t bucket(uint64_t n) {
  if (n < EXACT) {
    return (uint32_t)n;
  }
  uint32_t power = 63 - (uint32_t)__builtin_clzll(n);
  return EXACT + 16 * (power - 7) + (uint32_t)(n >> (power - 4) & 15);
}

/* What a job computes from: equal contents give equal results. */
static pv_content content(const void *context, uint64_t job) {
  const work *w = context;
  uint64_t size = w->shape->digest_size;
  if (w->hashing) {
    return (pv_content){{w->data + w->begins[job], NULL}, {message_size(w, job), 0}};
  }
  return (pv_content){{w->data + w->chain_at[job] * size, w->out + job * size}, {length(w, job) * size, size}};
}

/* The jobs of a block that stand for themselves and have anything to do, longest first. Returns how many. */
static uint32_t sort_jobs(const work *w, uint64_t first, uint32_t n, const uint32_t *same_as, uint32_t *order) {
  uint32_t starts[BUCKETS + 1] = {0}, total = 0;
  for (uint32_t i = 0; i < n; i++) {
    starts[bucket(length(w, first + i))] += same_as[i] == i;
  }
  for (uint32_t b = BUCKETS; b-- > 1;) {
    uint32_t count = starts[b];
    starts[b] = total;
    total += count;
  }
  for (uint32_t i = 0; i < n; i++) {
    uint64_t len = length(w, first + i);
    if (len && same_as[i] == i) {
      order[starts[bucket(len)]++] = i;
    }
  }
  return total;
}

/* State words of one lane from big-endian bytes, and back. */
static void load_words(const work *w, lanes *l, uint32_t lane, const uint8_t *bytes, uint32_t words) {
  uint32_t n = l->kernel->lanes;
  for (uint32_t i = 0; i < words; i++) {
    if (w->shape->word_size == 4) {
      ((uint32_t *)(void *)l->state)[i * n + lane] = pv_be32(bytes + 4 * i);
    } else {
      ((uint64_t *)(void *)l->state)[i * n + lane] = pv_be64(bytes + 8 * i);
    }
  }
}

static void store_words(const work *w, const lanes *l, uint32_t lane, uint8_t *bytes, uint32_t words) {
  uint32_t n = l->kernel->lanes;
  for (uint32_t i = 0; i < words; i++) {
    if (w->shape->word_size == 4) {
      pv_put_be32(bytes + 4 * i, ((const uint32_t *)(const void *)l->state)[i * n + lane]);
    } else {
      pv_put_be64(bytes + 8 * i, ((const uint64_t *)(const void *)l->state)[i * n + lane]);
    }
  }
}

/* The last one or two blocks of a message: what is left of it, 0x80, zeros and the length in bits, big-endian. A
 * message is far below 2^61 bytes, so the upper half of SHA-512's 128-bit length is zero. */
static void begin_tail(const work *w, lanes *l, uint32_t lane) {
  uint64_t job = l->job[lane], block = w->shape->block_size;
  uint64_t size = message_size(w, job), rest = size & (block - 1);
  uint64_t blocks = rest + 1 + block / 8 > block ? 2 : 1;
  uint8_t *tail = l->tail[lane];
  memcpy(tail, w->data + w->begins[job] + (size - rest), rest);
  tail[rest] = 0x80;
  memset(tail + rest + 1, 0, blocks * block - rest - 9);
  pv_put_be64(tail + blocks * block - 8, size * 8);
  l->in_tail[lane] = 1;
  l->at[lane] = tail;
  l->left[lane] = blocks;
}

static void begin(const work *w, lanes *l, uint32_t lane, uint64_t job) {
  const pv_hash_shape *shape = w->shape;
  l->job[lane] = job;
  l->in_tail[lane] = 0;
  if (!w->hashing) {
    load_words(w, l, lane, w->out + job * shape->digest_size, shape->digest_size / shape->word_size);
    l->at[lane] = w->data + w->chain_at[job] * shape->digest_size;
    l->left[lane] = length(w, job);
    return;
  }
  for (uint32_t i = 0, n = l->kernel->lanes; i < shape->words; i++) {
    if (shape->word_size == 4) {
      ((uint32_t *)(void *)l->state)[i * n + lane] = ((const uint32_t *)shape->iv)[i];
    } else {
      ((uint64_t *)(void *)l->state)[i * n + lane] = ((const uint64_t *)shape->iv)[i];
    }
  }
  l->at[lane] = w->data + w->begins[job];
  l->left[lane] = message_size(w, job) >> block_shift(w);
  if (!l->left[lane]) {
    begin_tail(w, l, lane);
  }
}

static void finish(const work *w, lanes *l, uint32_t lane) {
  const pv_hash_shape *shape = w->shape;
  if (w->hashing && !l->in_tail[lane]) {
    begin_tail(w, l, lane);
    return;
  }
  store_words(w, l, lane, w->out + l->job[lane] * shape->digest_size, shape->digest_size / shape->word_size);
  l->n_live--;
}

/* Takes every job out of its lane, so that another kernel may take them up. */
static void park(const work *w, lanes *l) {
  for (uint32_t lane = 0; l->kernel && lane < l->kernel->lanes; lane++) {
    if (l->left[lane]) {
      parked_job *p = &l->parked[l->n_parked++];
      p->left = l->left[lane];
      p->job = l->job[lane];
      p->in_tail = l->in_tail[lane];
      p->at = l->at[lane];
      if (p->in_tail) {
        memcpy(p->tail, l->tail[lane], MAX_TAIL);
        p->at = p->tail + (l->at[lane] - l->tail[lane]);
      }
      store_words(w, l, lane, p->words, w->shape->words);
      l->left[lane] = 0;
    }
  }
}

static void unpark(const work *w, lanes *l, uint32_t lane) {
  const parked_job *p = &l->parked[--l->n_parked];
  load_words(w, l, lane, p->words, w->shape->words);
  l->left[lane] = p->left;
  l->job[lane] = p->job;
  l->in_tail[lane] = p->in_tail;
  l->at[lane] = p->at;
  if (p->in_tail) {
    memcpy(l->tail[lane], p->tail, MAX_TAIL);
    l->at[lane] = l->tail[lane] + (p->at - p->tail);
  }
}

/* Changes the kernel where another one finishes so many jobs sooner. */
static void choose(const work *w, lanes *l, uint64_t jobs) {
  uint32_t variant = (uint32_t)w->variant;
  const pv_kernel *kernel =
      w->variant < 0 ? pv_kernel_for(w->bank, jobs, &variant) : pv_kernel_at(w->bank, variant);
  if (kernel != l->kernel) {
    park(w, l);
    l->kernel = kernel;
    l->variant = variant;
  }
}

/* All lanes forward until the first of them ends. */
static void advance(const work *w, lanes *l) {
  uint32_t n = l->kernel->lanes, busy = 0;
  uint64_t steps = UINT64_MAX, unit = w->hashing ? w->shape->block_size : w->shape->digest_size;
  const uint8_t *any = NULL;
  for (uint32_t lane = 0; lane < n; lane++) {
    if (l->left[lane]) {
      steps = l->left[lane] < steps ? l->left[lane] : steps;
      any = l->at[lane];
      busy++;
    }
  }
  for (uint32_t lane = 0; busy < n && lane < n; lane++) {
    l->at[lane] = l->left[lane] ? l->at[lane] : any;
  }
  (w->hashing ? l->kernel->compress : l->kernel->extend)(l->state, l->at, steps);
  if (w->usage) {
    w->usage->steps[l->variant] += steps * n;
    w->usage->filled[l->variant] += steps * busy;
  }
  for (uint32_t lane = 0; lane < n; lane++) {
    if (l->left[lane]) {
      l->at[lane] += steps * unit;
      if ((l->left[lane] -= steps) == 0) {
        finish(w, l, lane);
      }
    }
  }
}

static void run_block(const work *w, uint64_t first, uint32_t n) {
  uint32_t same_as[BLOCK_JOBS], order[BLOCK_JOBS], next = 0;
  uint32_t alone = pv_share_contents(content, w, first, n, w->key, same_as);
  uint32_t jobs = sort_jobs(w, first, n, same_as, order);
  lanes l;
  l.kernel = NULL;
  l.n_parked = l.n_live = 0;
  memset(l.left, 0, sizeof l.left);
  memset(l.state, 0, sizeof l.state); /* lanes that never get a job compute with it too */
  while (l.n_live || next < jobs) {
    uint64_t remaining = l.n_live + (jobs - next);
    if (!l.kernel || (w->variant < 0 && remaining < PV_MAX_LANES)) {
      choose(w, &l, remaining);
    }
    for (uint32_t lane = 0; lane < l.kernel->lanes && (l.n_parked || next < jobs); lane++) {
      if (!l.left[lane]) {
        if (l.n_parked) {
          unpark(w, &l, lane);
        } else {
          begin(w, &l, lane, first + order[next++]);
          l.n_live++;
        }
      }
    }
    advance(w, &l);
  }
  for (uint32_t i = 0; alone < n && i < n; i++) {
    if (same_as[i] != i) {
      uint64_t size = w->shape->digest_size;
      memcpy(w->out + (first + i) * size, w->out + (first + same_as[i]) * size, size);
    }
  }
}

static void run(const work *w, uint64_t first, uint64_t last) {
  for (; first < last; first += BLOCK_JOBS) {
    run_block(w, first, last - first < BLOCK_JOBS ? (uint32_t)(last - first) : BLOCK_JOBS);
  }
}

void pv_extend_chains(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests, const uint64_t *chain_at,
                      uint64_t first, uint64_t last, uint8_t *values, pv_usage *usage) {
  work w = {.shape = pv_shape(bank), .bank = bank, .variant = variant, .key = key, .hashing = 0, .data = digests,
            .chain_at = chain_at, .out = values, .usage = usage};
  run(&w, first, last);
}

void pv_hash_messages(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *begins,
                      const int64_t *ends, uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage) {
  work w = {.shape = pv_shape(bank), .bank = bank, .variant = variant, .key = key, .hashing = 1, .data = blob,
            .begins = begins, .ends = ends, .out = digests, .usage = usage};
  run(&w, first, last);
}
