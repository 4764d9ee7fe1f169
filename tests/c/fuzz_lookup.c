/* libFuzzer target: grouping, index, lookup, collection and comparison over any bytes, with offsets, indices and sets that
 * may be nonsense. What they say is what a plain search says, and nonsense is refused. */
#include "fuzz.h"

enum { MOST = 40 };

/* A ragged batch; its offsets go down or below 0 at times, but never past the blob, which the contract promises. */
typedef struct {
  bytes blob;
  int64_t at[MOST + 1];
  uint64_t n;
  int is_sane;
} batch;

static batch take_batch(input *in) {
  batch b = {.n = take_below(in, MOST + 1), .is_sane = 1};
  int64_t most = (int64_t)take_byte(in) * 4;
  for (uint64_t i = 0; i <= b.n; i++) {
    uint8_t step = take_byte(in);
    b.at[i] = (i ? b.at[i - 1] : 0) + (step < 0xF0 ? step % 8 : step - 0x100);
    b.at[i] = b.at[i] > most ? most : b.at[i];
    b.is_sane &= b.at[i] >= (i ? b.at[i - 1] : 0);
  }
  b.blob = take_block(in, (size_t)most);
  return b;
}

static int same_item(const batch *a, uint64_t i, const batch *b, uint64_t j) {
  int64_t size = a->at[i + 1] - a->at[i];
  return size == b->at[j + 1] - b->at[j] &&
         memcmp(a->blob.bytes + a->at[i], b->blob.bytes + b->at[j], (size_t)size) == 0;
}

static void check_group(const batch *b, uint64_t key) {
  uint64_t same_as[MOST];
  int status = pv_group(b->blob.bytes, b->at, 0, b->n, key, same_as);
  must(status == (b->is_sane ? PV_OK : PV_BAD_ARGUMENT));
  for (uint64_t i = 0; status == PV_OK && i < b->n; i++) {
    must(same_as[i] <= i && same_item(b, i, b, same_as[i]));
  }
}

static void check_find(const batch *items, const batch *table, uint64_t key, input *in) {
  uint64_t n_slots = pv_index_slots(table->n);
  uint64_t *slots = (uint64_t *)(void *)block(n_slots * sizeof *slots);
  uint32_t found[MOST];
  int hostile = take_byte(in) % 4 == 3;
  int status = pv_index(table->blob.bytes, table->at, table->n, key, slots, n_slots);
  must(status == (table->is_sane ? PV_OK : PV_BAD_ARGUMENT));
  for (uint64_t i = 0; (hostile || status != PV_OK) && i < n_slots; i++) { /* an index out of a foreign file */
    slots[i] = take_number(in);
  }
  status = pv_find(items->blob.bytes, items->at, 0, items->n, table->blob.bytes, table->at, table->n, key, slots, n_slots,
                   found);
  must(status == (table->is_sane && items->is_sane ? PV_OK : PV_BAD_ARGUMENT));
  for (uint64_t i = 0; status == PV_OK && i < items->n; i++) {
    int is_there = 0;
    for (uint64_t j = 0; j < table->n; j++) {
      is_there |= same_item(items, i, table, j);
    }
    must(found[i] == PV_NOT_FOUND ? hostile || !is_there : found[i] < table->n && same_item(items, i, table, found[i]));
  }
  free(slots);
}

static void check_collect(const batch *b, input *in) {
  uint32_t sizes[MOST];
  uint64_t capacity = (uint64_t)take_byte(in) * 4, used = 0;
  int expected = PV_OK;
  for (uint64_t i = 0; i < b->n; i++) {
    uint8_t size = take_byte(in);
    sizes[i] = size < 0xF0 ? size % 16u : UINT32_MAX - (size - 0xF0u);
  }
  for (uint64_t i = 0; expected == PV_OK && i < b->n; i++) {
    if (b->at[i] < 0 || (uint64_t)b->at[i] + sizes[i] > b->blob.size) {
      expected = PV_BAD_ARGUMENT;
    } else if (used + sizes[i] > capacity) {
      expected = PV_NO_ROOM;
    }
    used += sizes[i];
  }
  uint8_t *collected = block(capacity);
  must(pv_collect(b->blob.bytes, b->blob.size, b->at, sizes, b->n, collected, capacity) == expected);
  used = 0;
  for (uint64_t i = 0; expected == PV_OK && i < b->n; used += sizes[i++]) {
    must(memcmp(collected + used, b->blob.bytes + b->at[i], sizes[i]) == 0);
  }
  free(collected);
}

/* Whether a set, which is inside its members, has a value. */
static int in_set(const uint8_t *value, uint32_t size, const uint32_t *members, uint64_t from, uint64_t to, bytes allowed) {
  int is_there = 0;
  for (uint64_t i = from; i < to; i++) {
    is_there |= members[i] < allowed.size / size && memcmp(allowed.bytes + members[i] * size, value, size) == 0;
  }
  return is_there;
}

static void check_compare(input *in) {
  enum { REFERENCES = 2, ROWS = 3, MEMBERS = 30 };
  uint32_t size = pv_digest_size(take_below(in, PV_BANKS)), n_allowed = take_below(in, 6);
  uint32_t mask = (uint32_t)take_number(in) & 0xFFFFFF, members[MEMBERS], reference[ROWS], differs[ROWS];
  uint64_t set_at[REFERENCES * PV_PCRS + 1] = {0}, n_members = take_below(in, MEMBERS + 1);
  int expected = PV_OK;
  for (unsigned i = 1; i <= REFERENCES * PV_PCRS; i++) {
    uint8_t step = take_byte(in);
    set_at[i] = step < 0xFC ? set_at[i - 1] + step % 2 : step == 0xFF ? UINT64_MAX : step;
  }
  for (unsigned i = 0; i < MEMBERS; i++) {
    members[i] = take_byte(in) % 8;
  }
  bytes allowed = take_block(in, (size_t)n_allowed * size), values = take_block(in, (size_t)ROWS * PV_PCRS * size);
  uint32_t *exact = (uint32_t *)(void *)block(n_members * sizeof *exact);
  memcpy(exact, members, n_members * sizeof *exact);
  for (unsigned i = 0; i < ROWS; i++) {
    reference[i] = take_below(in, REFERENCES + 1);
    for (uint32_t pcr = 0; reference[i] < REFERENCES && pcr < PV_PCRS; pcr++) {
      const uint64_t *at = set_at + reference[i] * PV_PCRS + pcr;
      expected = mask >> pcr & 1 && (at[0] > at[1] || at[1] > n_members) ? PV_BAD_ARGUMENT : expected;
    }
  }
  must(pv_compare(values.bytes, size, reference, 0, ROWS, set_at, REFERENCES, exact, n_members, allowed.bytes, n_allowed,
                  mask, differs) == expected);
  for (unsigned i = 0; expected == PV_OK && i < ROWS; i++) {
    for (uint32_t pcr = 0; pcr < PV_PCRS; pcr++) {
      const uint64_t *at = set_at + reference[i] * PV_PCRS + pcr;
      int allows = reference[i] < REFERENCES && mask >> pcr & 1 &&
                   in_set(values.bytes + (i * PV_PCRS + pcr) * size, size, exact, at[0], at[1], allowed);
      must((differs[i] >> pcr & 1) == (mask >> pcr & 1 & !allows));
    }
  }
  free(allowed.bytes);
  free(values.bytes);
  free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  uint64_t key = take_byte(&in) % 2 ? KEY : 0;
  batch items = take_batch(&in), table = take_batch(&in);
  check_group(&items, key);
  check_collect(&items, &in);
  check_find(&items, &table, key, &in);
  check_compare(&in);
  free(items.blob.bytes);
  free(table.blob.bytes);
  return 0;
}
