/* Lane scheduling, once for all kernels. Jobs (chains to extend, messages to hash) are taken longest first. As many of
 * one length as there are lanes begin and end together, a wave, and need no bookkeeping. Else a lane whose job ends
 * takes the next one, so that all lanes end at nearly the same time; between two such ends the kernel runs without
 * interruption, its state in registers. When fewer jobs are left than lanes, they move to the kernel that finishes so
 * few soonest (PERFORMANCE 3). */
#include "lanes.h"

#include "dispatch.h"
#include "padding.h"
#include "share.h"
#include "state.h"

enum {
  BLOCK_JOBS = PV_SHARE_MOST, /* sorted at a time, on the stack; each block ends with one drain */
  EXACT = 128,       /* lengths below have a bucket each, longer ones sixteen for each power of two */
  BUCKETS = EXACT + 16 * (64 - 7),
  WORTH = 4, /* jobs in waves for each step of a lane that is lost before them: they save more than that */
};

#define IDLE UINT64_MAX /* steps that a lane without a job has left */

typedef struct {
  const pv_hash_shape *shape;
  uint32_t bank;
  int32_t variant; /* -1: the best for what is left */
  uint64_t key;    /* for sharing; 0: none */
  int hashing;
  unsigned shift;      /* a block is 1 << shift bytes; a division by what the compiler does not know takes long */
  uint64_t unit;       /* bytes that a step takes: of a digest or a block */
  uint32_t state_size; /* bytes of a hash's state, as big-endian words too */
  uint8_t initial[PV_STATE_WORDS * 8]; /* state of a new message, so */
  const uint8_t *data; /* digests, or the blob of messages */
  const uint64_t *chain_at;
  const int64_t *begins, *ends; /* of messages */
  uint8_t *out; /* PCR values in and out, or digests out */
  pv_usage *usage;
} work;

/* A job that is under way, outside a lane. */
typedef struct {
  const uint8_t *at;
  uint64_t left, job;
  int tail_comes;
  uint8_t words[PV_STATE_WORDS * 8], tail[PV_TAIL_ROOM];
} parked_job;

typedef struct {
  _Alignas(64) uint8_t state[PV_STATE_WORDS * 8 * PV_MAX_LANES];
  _Alignas(64) uint8_t initial[PV_STATE_WORDS * 8 * PV_MAX_LANES]; /* the hash's in every lane of `kernel` */
  _Alignas(64) uint8_t tail[PV_MAX_LANES][PV_TAIL_ROOM];
  const uint8_t *at[PV_MAX_LANES];
  uint64_t left[PV_MAX_LANES]; /* more than half of IDLE: the lane is free */
  uint64_t job[PV_MAX_LANES];
  int tail_comes[PV_MAX_LANES]; /* after the steps that are left come those of a long message's tail */
  parked_job parked[PV_MAX_LANES];
  uint32_t n_parked, n_busy; /* jobs under way outside lanes, and in lanes */
  const pv_kernel *kernel;
  uint32_t variant;
} lanes;

/* The jobs of a block, longest first; those before `next` have begun, those from `until` on wait for all lanes to end. */
typedef struct {
  uint64_t first;
  uint32_t order[BLOCK_JOBS], n, next, until;
} queue;

static uint64_t message_size(const work *w, uint64_t job) {
  return (uint64_t)(w->ends[job] - w->begins[job]);
}

/* Digests or blocks that a job takes. */
static uint64_t length(const work *w, uint64_t job) {
  return w->hashing ? pv_padded_blocks(message_size(w, job), w->shift) : w->chain_at[job + 1] - w->chain_at[job];
}

static const uint8_t *input(const work *w, uint64_t job) {
  return w->hashing ? w->data + w->begins[job] : w->data + w->chain_at[job] * w->unit;
}

static uint64_t queued_length(const work *w, const queue *q, uint32_t i) { return length(w, q->first + q->order[i]); }

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

/* The jobs of a block that stand for themselves and have anything to do, longest first. */
static void sort_jobs(const work *w, uint32_t n, const uint32_t *same_as, queue *q) {
  uint32_t starts[BUCKETS + 1] = {0}, total = 0;
  for (uint32_t i = 0; i < n; i++) {
    starts[bucket(length(w, q->first + i))] += same_as[i] == i;
  }
  for (uint32_t b = BUCKETS; b-- > 1;) {
    uint32_t count = starts[b];
    starts[b] = total;
    total += count;
  }
  for (uint32_t i = 0; i < n; i++) {
    uint64_t len = length(w, q->first + i);
    if (len && same_as[i] == i) {
      q->order[starts[bucket(len)]++] = i;
    }
  }
  q->n = total;
  q->next = 0;
}

/* Where the PCR value or the digest of a job lies. */
static uint8_t *value(const work *w, uint64_t job) { return w->out + job * w->shape->digest_size; }

static inline __attribute__((always_inline)) const uint8_t *pad(const work *w, lanes *l, uint32_t lane, uint64_t job, uint64_t before, uint64_t blocks) {
  const uint8_t *message = w->data + w->begins[job];
  uint64_t size = message_size(w, job);
  return w->shift == 6 ? pv_pad(l->tail[lane], message, size, before << 6, blocks, 6)
                       : pv_pad(l->tail[lane], message, size, before << 7, blocks, 7);
}

/* So many steps of the kernel, of whose lanes `busy` have work. */
static void step(const work *w, lanes *l, uint64_t steps, uint32_t busy) {
  (w->hashing ? l->kernel->compress : l->kernel->extend)(l->state, l->at, steps);
  if (w->usage) {
    w->usage->steps[l->variant] += steps * l->kernel->lanes;
    w->usage->filled[l->variant] += steps * busy;
  }
}

/* Asks for the beginning of a job that a lane takes some time later. */
static void expect(const work *w, const queue *q, uint32_t later) {
  if (q->next + later < q->n) {
    __builtin_prefetch(input(w, q->first + q->order[q->next + later]));
  }
}

/* Whether the next jobs fill all lanes and have one length. All are looked at: long ones are not quite in order. */
static int is_wave(const work *w, const lanes *l, const queue *q) {
  uint32_t n = l->kernel->lanes;
  if (q->n - q->next < n) {
    return 0;
  }
  uint64_t steps = queued_length(w, q, q->next);
  for (uint32_t lane = 1; lane < n; lane++) {
    if (queued_length(w, q, q->next + lane) != steps) {
      return 0;
    }
  }
  return 1;
}

/* Where lanes of unequal jobs stop to be given more. If jobs of one length follow the next ones, it is best to wait until
 * all of these have ended, for then come waves; else never. */
static uint32_t in_step(const work *w, const lanes *l, const queue *q) {
  uint32_t n = l->kernel->lanes, last = q->next + n - 1;
  if (q->n - q->next < n) {
    return q->n;
  }
  uint64_t lost = n * queued_length(w, q, q->next), shortest = queued_length(w, q, last);
  for (uint32_t lane = 0; lane < n; lane++) {
    lost -= queued_length(w, q, q->next + lane);
  }
  return WORTH * lost < q->n - last && queued_length(w, q, last + WORTH * (uint32_t)lost) == shortest ? last + 1 : q->n;
}

static void run_wave(const work *w, lanes *l, queue *q) {
  uint32_t n = l->kernel->lanes;
  const uint32_t *jobs = q->order + q->next;
  uint64_t steps = length(w, q->first + jobs[0]), tail = 0;
  q->next += n;
  for (uint32_t lane = 0; lane < n; lane++) {
    expect(w, q, lane);
    l->at[lane] = input(w, q->first + jobs[lane]);
  }
  if (!w->hashing) {
    for (uint32_t lane = 0; lane < n; lane++) {
      pv_load_lane(l->state, n, lane, value(w, q->first + jobs[lane]), w->shape->digest_size);
    }
  } else {
    memcpy(l->state, l->initial, (size_t)w->state_size * n);
    tail = steps <= PV_SHORT_BLOCKS ? steps : PV_TAIL_BLOCKS;
    steps -= tail;
  }
  if (steps) {
    step(w, l, steps, n);
  }
  if (tail) {
    for (uint32_t lane = 0; lane < n; lane++) {
      l->at[lane] = pad(w, l, lane, q->first + jobs[lane], steps, tail);
    }
    step(w, l, tail, n);
  }
  for (uint32_t lane = 0; lane < n; lane++) {
    pv_store_lane(l->state, n, lane, value(w, q->first + jobs[lane]), w->shape->digest_size);
  }
}

static void begin(const work *w, lanes *l, uint32_t lane, queue *q) {
  uint64_t job = q->first + q->order[q->next++], steps = length(w, job);
  expect(w, q, l->kernel->lanes);
  l->n_busy++;
  l->job[lane] = job;
  l->at[lane] = input(w, job);
  l->left[lane] = steps;
  l->tail_comes[lane] = 0;
  if (!w->hashing) {
    pv_load_lane(l->state, l->kernel->lanes, lane, value(w, job), w->shape->digest_size);
    return;
  }
  pv_load_lane(l->state, l->kernel->lanes, lane, w->initial, w->state_size);
  if (steps <= PV_SHORT_BLOCKS) {
    l->at[lane] = pad(w, l, lane, job, 0, steps);
  } else {
    l->left[lane] = steps - PV_TAIL_BLOCKS;
    l->tail_comes[lane] = 1;
  }
}

/* Takes every job out of its lane, so that another kernel may take them up. */
static void park(const work *w, lanes *l) {
  for (uint32_t lane = 0; l->kernel && lane < l->kernel->lanes; lane++) {
    if (l->left[lane] > IDLE / 2) {
      continue;
    }
    parked_job *p = &l->parked[l->n_parked++];
    l->n_busy--;
    p->left = l->left[lane];
    p->job = l->job[lane];
    p->tail_comes = l->tail_comes[lane];
    p->at = l->at[lane];
    if (p->at >= l->tail[lane] && p->at < l->tail[lane] + PV_TAIL_ROOM) {
      memcpy(p->tail, l->tail[lane], PV_TAIL_ROOM);
      p->at = p->tail + (l->at[lane] - l->tail[lane]);
    }
    pv_store_lane(l->state, l->kernel->lanes, lane, p->words, w->state_size);
  }
  for (uint32_t lane = 0; lane < PV_MAX_LANES; lane++) {
    l->left[lane] = IDLE;
  }
}

static void unpark(const work *w, lanes *l, uint32_t lane) {
  const parked_job *p = &l->parked[--l->n_parked];
  l->n_busy++;
  pv_load_lane(l->state, l->kernel->lanes, lane, p->words, w->state_size);
  l->left[lane] = p->left;
  l->job[lane] = p->job;
  l->tail_comes[lane] = p->tail_comes;
  l->at[lane] = p->at;
  if (p->at >= p->tail && p->at < p->tail + PV_TAIL_ROOM) {
    memcpy(l->tail[lane], p->tail, PV_TAIL_ROOM);
    l->at[lane] = l->tail[lane] + (p->at - p->tail);
  }
}

/* Changes the kernel where another one finishes so many jobs sooner. */
static void choose(const work *w, lanes *l, uint64_t jobs) {
  uint32_t variant = (uint32_t)w->variant;
  const pv_kernel *kernel =
      w->variant < 0 ? pv_kernel_for(w->bank, jobs, &variant) : pv_kernel_at(w->bank, variant);
  if (!l->kernel || kernel != l->kernel) {
    park(w, l);
    l->kernel = kernel;
    l->variant = variant;
    for (uint32_t lane = 0; w->hashing && lane < kernel->lanes; lane++) {
      pv_load_lane(l->initial, kernel->lanes, lane, w->initial, w->state_size);
    }
  }
}

/* The steps of a lane's job are done: its tail comes, or it ends and the next job takes the lane. */
static void turn(const work *w, lanes *l, uint32_t lane, queue *q) {
  uint64_t job = l->job[lane];
  if (l->tail_comes[lane]) {
    l->tail_comes[lane] = 0;
    l->at[lane] = pad(w, l, lane, job, length(w, job) - PV_TAIL_BLOCKS, PV_TAIL_BLOCKS);
    l->left[lane] = PV_TAIL_BLOCKS;
    return;
  }
  pv_store_lane(l->state, l->kernel->lanes, lane, value(w, job), w->shape->digest_size);
  l->n_busy--;
  if (q->next < q->until && !l->n_parked) {
    begin(w, l, lane, q);
  } else {
    l->left[lane] = IDLE;
  }
}

/* All lanes forward until the first of them ends. */
static void advance(const work *w, lanes *l, queue *q) {
  uint32_t n = l->kernel->lanes, shortest = 0;
  for (uint32_t lane = 1; lane < n; lane++) {
    shortest = l->left[lane] < l->left[shortest] ? lane : shortest;
  }
  uint64_t steps = l->left[shortest];
  for (uint32_t lane = 0; l->n_busy < n && lane < n; lane++) {
    l->at[lane] = l->left[lane] > IDLE / 2 ? l->at[shortest] : l->at[lane];
  }
  step(w, l, steps, l->n_busy);
  for (uint32_t lane = 0; lane < n; lane++) {
    l->at[lane] += steps * w->unit;
    l->left[lane] -= steps;
  }
  for (uint32_t lane = 0; lane < n; lane++) {
    if (!l->left[lane]) {
      turn(w, l, lane, q);
    }
  }
}

/* Gives every free lane a job where there is one. */
static void fill(const work *w, lanes *l, queue *q) {
  for (uint32_t lane = 0; lane < l->kernel->lanes; lane++) {
    if (l->left[lane] <= IDLE / 2) {
      continue;
    }
    if (l->n_parked) {
      unpark(w, l, lane);
    } else if (q->next < q->until) {
      begin(w, l, lane, q);
    } else {
      l->left[lane] = IDLE;
    }
  }
}

static void run_block(const work *w, uint64_t first, uint32_t n) {
  uint32_t same_as[BLOCK_JOBS];
  uint32_t alone = pv_share_contents(content, w, first, n, w->key, same_as);
  queue q;
  lanes l;
  q.first = first;
  sort_jobs(w, n, same_as, &q);
  l.kernel = NULL;
  l.n_parked = l.n_busy = 0;
  memset(l.state, 0, sizeof l.state); /* lanes that never get a job compute with it too */
  for (;;) {
    uint64_t under_way = l.n_busy + l.n_parked, remaining = under_way + (q.n - q.next);
    if (!remaining) {
      break;
    }
    if (!l.kernel || (w->variant < 0 && remaining < PV_MAX_LANES)) {
      choose(w, &l, remaining);
    }
    if (!under_way && is_wave(w, &l, &q)) {
      run_wave(w, &l, &q);
      continue;
    }
    if (!under_way) {
      q.until = in_step(w, &l, &q);
    }
    if (l.n_busy < l.kernel->lanes) {
      fill(w, &l, &q);
    }
    advance(w, &l, &q);
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
  const pv_hash_shape *shape = pv_shape(bank);
  work w = {.shape = shape, .bank = bank, .variant = variant, .key = key, .unit = shape->digest_size,
            .state_size = shape->digest_size, .data = digests, .chain_at = chain_at, .out = values, .usage = usage};
  run(&w, first, last);
}

void pv_hash_messages(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *begins,
                      const int64_t *ends, uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage) {
  const pv_hash_shape *shape = pv_shape(bank);
  work w = {.shape = shape, .bank = bank, .variant = variant, .key = key, .hashing = 1,
            .shift = shape->word_size == 4 ? 6 : 7, .unit = shape->block_size,
            .state_size = shape->words * shape->word_size, .data = blob, .begins = begins, .ends = ends, .out = digests,
            .usage = usage};
  pv_store_lane(shape->iv, 1, 0, w.initial, w.state_size);
  run(&w, first, last);
}
