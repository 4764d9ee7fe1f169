/* Disjoint slices of one batch on several threads, as callers run them: the same rows as one call for all of it. The
 * threads come first, so that what is found out once, such as the processor's features, is found out by all of them at
 * once. ThreadSanitizer looks on (-DPV_TSAN=ON). Arguments: kat_log.bin, a folder with a quote, a binary IMA list. */
#include <pthread.h>

#include "check.h"

static void must(int condition) { CHECK(condition, "what must hold of any bytes does not"); }

#include "believer.h"
#include "logs.h"

enum { N = 96, THREADS = 4, SLICE = 5, SHA256 = 1, SIZE = 32, LONGEST = 9 };

/* A ragged batch of N items. */
typedef struct {
  bytes blob;
  int64_t at[N + 1];
} batch;

static batch make_batch(bytes item, int cut) {
  batch b = {.blob = {block(N * item.size), 0}};
  for (uint64_t i = 0; i < N; i++) {
    size_t size = !cut ? item.size : i % 5 == 3 ? item.size - 1 - i % 20 : i % 7 == 6 ? 0 : item.size;
    memcpy(b.blob.bytes + b.blob.size, item.bytes, size);
    b.blob.size += size;
    b.at[i + 1] = (int64_t)b.blob.size;
  }
  return b;
}

/* What all threads read. */
typedef struct {
  batch logs, messages, signatures, keys, values, lists;
  uint8_t banks[N], is_ascii[N];
  uint64_t chain_at[N + 1], set_at[PV_PCRS + 1], order[N];
  uint8_t digests[N * LONGEST * SIZE], targets[N * SIZE], hashes[64 * N];
  uint64_t filter[1];
  uint32_t reference[N], members[1], scheme[N], hash[N], key[N];
  uint64_t *slots, n_slots;
} input;

/* What each thread writes rows of. */
typedef struct {
  pv_log scanned[N], replayed[N], hunted[N];
  uint8_t pcrs[N * PV_PCRS * SIZE], extended[N * SIZE], sought[N * SIZE], hashed[N * SIZE], pieces[N * SIZE];
  uint64_t found_at[N], same_as[N];
  uint32_t differs[N], found[N];
  pv_attest attests[N];
  pv_signature signatures[N];
  pv_public keys[N];
  uint8_t laid_out[N], values[N * PV_PCRS * SIZE], results[N];
  pv_ima_list lists[N], translated[N];
} output;

static void prepare(input *in, char **argv) {
  const char *parts[] = {"quote.msg", "quote.sig", "ak.pub", "quote.pcrs"};
  batch *batches[] = {&in->messages, &in->signatures, &in->keys, &in->values};
  for (int i = 0; i < 4; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", argv[2], parts[i]);
    bytes item = read_file(path);
    *batches[i] = make_batch(item, 0);
    free(item.bytes);
  }
  bytes log = read_file(argv[1]), list = read_file(argv[3]);
  in->logs = make_batch(log, 1);
  in->lists = make_batch(list, 1);
  free(log.bytes), free(list.bytes);
  for (uint64_t i = 0; i < N; i++) {
    in->chain_at[i + 1] = in->chain_at[i] + i % LONGEST;
    in->order[i] = i;
    in->key[i] = (uint32_t)i;
    in->hash[i] = SHA256;
    in->scheme[i] = 0x18; /* ECDSA */
  }
  for (size_t i = 0; i < sizeof in->digests; i++) {
    in->digests[i] = (uint8_t)(i / 64 % 3);
  }
  for (uint32_t pcr = 0; pcr <= PV_PCRS; pcr++) {
    in->set_at[pcr] = pcr > 3;
  }
}

/* Every function that works on slices, over rows [first, last). Scratch and event arrays are the slice's own. */
static void run_logs(const input *in, output *out, uint64_t first, uint64_t last) {
  static const int32_t fastest[PV_BANKS] = {-1, -1, -1, -1, -1};
  const uint8_t *blob = in->logs.blob.bytes;
  uint64_t capacity = pv_scan_capacity(in->logs.at, first, last), n, room = pv_replay_scratch(in->logs.at, first, last);
  pv_event *events = (pv_event *)(void *)block(capacity * sizeof *events);
  uint8_t *marks = block(capacity), *scratch = aligned_alloc(64, room);
  const pv_filters filters = {.banks = {NULL, in->filter}, .key = 1, .bits = 6};
  const pv_text text = {(const uint8_t *)"EFI", 3, 1};
  must(pv_scan(blob, in->logs.at, first, last, out->scanned, events, capacity, &n) == PV_OK);
  must(pv_hunt(blob, in->logs.at, first, last, out->hunted, events, capacity, &n, &filters, &text, 1, marks) == PV_OK);
  must(pv_replay(blob, in->logs.at, first, last, 1u << SHA256, fastest, KEY, out->replayed, NULL, out->pcrs, NULL, NULL,
                 NULL, scratch, room) == PV_OK);
  must(pv_compare(out->pcrs, SIZE, in->reference, first, last, in->set_at, 1, in->members, 1, in->targets, 1, 0xFF,
                  out->differs) == PV_OK);
  free(events), free(marks), free(scratch);
}

static void run_hashes(const input *in, output *out, uint64_t first, uint64_t last) {
  const uint8_t *blob = in->logs.blob.bytes;
  const int64_t *at = in->logs.at;
  pv_usage usage = {{0}, {0}};
  must(pv_extend(SHA256, -1, KEY, in->digests, in->chain_at, first, last, out->extended, &usage) == PV_OK);
  must(pv_seek(SHA256, -1, in->digests, in->chain_at, first, last, out->sought, in->targets, out->found_at) == PV_OK);
  must(pv_hash(SHA256, -1, KEY, blob, at, first, last, out->hashed, &usage) == PV_OK);
  must(pv_hash_pieces(SHA256, -1, KEY, blob, in->logs.blob.size, at, at + 1, first, last, out->pieces, NULL) == PV_OK);
  must(pv_group(blob, at, first, last, KEY, out->same_as) == PV_OK);
  must(pv_find(blob, at, first, last, blob, at, N, KEY, in->slots, in->n_slots, out->found) == PV_OK);
}

static void run_quotes(const input *in, output *out, uint64_t first, uint64_t last) {
  must(pv_attest_decode(in->messages.blob.bytes, in->messages.at, first, last, out->attests) == PV_OK);
  must(pv_signature_decode(in->signatures.blob.bytes, in->signatures.at, first, last, out->signatures) == PV_OK);
  must(pv_public_decode(in->keys.blob.bytes, in->keys.at, first, last, out->keys) == PV_OK);
  uint8_t *other = block((size_t)N * PV_PCRS * 64);
  must(pv_values_decode(in->values.blob.bytes, in->values.at, first, last, out->attests, other, out->values, other,
                        other, other, out->laid_out) == PV_OK);
  free(other);
}

static void run_lists(const input *in, output *out, uint64_t first, uint64_t last) {
  const uint8_t *blob = in->lists.blob.bytes;
  uint64_t capacity = pv_ima_capacity(in->lists.at, first, last), n, room = pv_ima_binary_capacity(in->lists.at, first, last);
  pv_ima_entry *entries = (pv_ima_entry *)(void *)block(capacity * sizeof *entries);
  uint8_t *binary = block(room);
  int64_t at[N + 1];
  must(pv_ima_scan(blob, in->lists.at, in->banks, first, last, out->lists, entries, capacity, &n) == PV_OK);
  must(pv_ima_from_ascii(blob, in->lists.at, in->banks, in->is_ascii, first, last, out->translated, binary, room, at) ==
       PV_OK);
  free(entries), free(binary);
}

static void run_slice(const input *in, output *out, uint64_t first, uint64_t last) {
  run_logs(in, out, first, last);
  run_hashes(in, out, first, last);
  run_quotes(in, out, first, last);
  run_lists(in, out, first, last);
}

/* Verification of signatures reads rows of any number, so all of them are decoded before. */
static void verify_slice(const input *in, output *out, uint64_t first, uint64_t last) {
  const pv_signed rows = {in->signatures.blob.bytes, in->signatures.at, out->signatures, in->keys.blob.bytes, in->keys.at,
                          out->keys, in->key, in->scheme, in->hash, in->hashes, N, N};
  must(pv_verify_signatures(&believer, &rows, in->order, first, last, out->results) == PV_OK);
}

typedef struct {
  pthread_t id;
  const input *in;
  output *out;
  void (*run)(const input *, output *, uint64_t, uint64_t);
  uint64_t number;
} worker;

static void *work(void *context) {
  const worker *w = context;
  for (uint64_t first = w->number * SLICE; first < N; first += THREADS * SLICE) {
    w->run(w->in, w->out, first, first + SLICE < N ? first + SLICE : N);
  }
  return NULL;
}

static void on_threads(const input *in, output *out, void (*run)(const input *, output *, uint64_t, uint64_t)) {
  worker workers[THREADS];
  for (uint64_t t = 0; t < THREADS; t++) {
    workers[t] = (worker){.in = in, .out = out, .run = run, .number = t};
    if (pthread_create(&workers[t].id, NULL, work, &workers[t])) {
      exit(2);
    }
  }
  for (uint64_t t = 0; t < THREADS; t++) {
    pthread_join(workers[t].id, NULL);
  }
}

/* The numbers that count from the beginning of a slice, or of a block of it, are not the same for all slices. */
static void forget_places(output *out) {
  for (uint64_t i = 0; i < N; i++) {
    out->scanned[i].first_event = out->replayed[i].first_event = out->hunted[i].first_event = 0;
    out->lists[i].first_entry = out->translated[i].first_entry = 0;
    out->same_as[i] = 0;
  }
}

int main(int argc, char **argv) {
  static input in;
  static output parts, whole; /* zeros, padding of rows too */
  if (argc != 4) {
    return 2;
  }
  prepare(&in, argv);
  in.n_slots = pv_index_slots(N);
  in.slots = (uint64_t *)(void *)block(in.n_slots * sizeof *in.slots);
  must(pv_index(in.logs.blob.bytes, in.logs.at, N, KEY, in.slots, in.n_slots) == PV_OK);
  on_threads(&in, &parts, run_slice);
  on_threads(&in, &parts, verify_slice);
  run_slice(&in, &whole, 0, N);
  verify_slice(&in, &whole, 0, N);
  CHECK(whole.scanned[0].n_events == 8 && whole.lists[0].n_entries && !whole.attests[0].fault && whole.laid_out[0],
        "nothing was read");
  CHECK(whole.results[0] == PV_SIGNATURE_GOOD && whole.differs[0] && whole.found[0] == 0,
        "nothing was judged");
  forget_places(&parts);
  forget_places(&whole);
  CHECK(memcmp(&parts, &whole, sizeof whole) == 0, "rows differ");
  batch *batches[] = {&in.logs, &in.messages, &in.signatures, &in.keys, &in.values, &in.lists};
  for (int i = 0; i < 6; i++) {
    free(batches[i]->blob.bytes);
  }
  free(in.slots);
  return check_result();
}
