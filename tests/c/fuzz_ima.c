/* libFuzzer target: any bytes, as one or two IMA lists, through translation, scan, messages, mismatch, chains, seek, and
 * sets that are made of the entries themselves. The first byte says of which bank the lists are and which of them are
 * text. Half of the mutations of binary lists are of whole entries, so that the framing stands. */
#include "ima_lists.h"
#include "mutate.h"

static const char separator[8] = {'P', 'V', '-', 'N', 'E', 'X', 'T', '!'};

/* The entries of a binary list: PCR, digest, template's name, data (SPEC 7.2). */
static size_t find_entries(const uint8_t *data, size_t size, part *parts) {
  size_t n = 0, at = 1;
  size_t digest = size ? pv_digest_size(data[0] / 4 % PV_BANKS) : 0;
  while (size && !(data[0] & 1) && n < MOST_PARTS && size - at >= digest + 12) {
    uint64_t name = little_endian(data + at + 4 + digest, 4);
    if (name > size - at - digest - 12) {
      break;
    }
    size_t fixed = 8 + digest + (size_t)name;
    uint64_t held = little_endian(data + at + fixed, 4);
    if (held > size - at - fixed - 4) {
      break;
    }
    parts[n] = (part){at, fixed + 4 + (size_t)held, (size_t)held, 4};
    at += parts[n++].size;
  }
  return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  return mutate_parts(data, size, max_size, seed, find_entries, 0);
}

static void check_piece(uint32_t at, uint32_t size, uint64_t from, uint64_t end) {
  must(size == 0 || (at >= from && at <= end && size <= end - at));
}

static void check_list(const pv_ima_list *list, const pv_ima_entry *entries, uint64_t n_entries, uint64_t size) {
  uint64_t end = 0;
  must(list->first_entry <= n_entries && list->n_entries <= n_entries - list->first_entry);
  must((list->fault == PV_IMA_FAULT_NONE) == (pv_ima_fault_code(list->fault) == NULL));
  for (uint32_t i = 0; i < list->n_entries; i++) {
    const pv_ima_entry *e = &entries[list->first_entry + i];
    must(e->at == end && e->pcr < PV_PCRS && list->pcrs >> e->pcr & 1);
    end = (uint64_t)e->data_at + e->data_size;
    must(end <= size && e->data_at > e->at && e->digest_at == e->at + 4);
    must(e->name_at + (uint64_t)e->name_size <= e->data_at && e->name_size);
    check_piece(e->path_at, e->path_size, e->data_at, end);
    check_piece(e->file_digest_at, e->file_digest_size, e->data_at, end);
    check_piece(e->signature_at, e->signature_size, e->data_at, end);
    must((e->flags & ~list->notes) == 0 && e->file_digest_size <= 64);
  }
  must(list->fault ? list->fault_at >= end && list->fault_at < size : end == size);
}

/* Entries show the digest of their data, or differ; digests of other banks' lists are not looked at. */
static void check_mismatch(const ima_scan *s, uint64_t n_lists, const ima_messages *m, uint32_t bank,
                           const uint8_t *digests, uint32_t size) {
  uint8_t *differs = block(s->n_entries);
  memset(differs, 2, s->n_entries);
  must(pv_ima_mismatch(s->binary.bytes, s->binary_at, n_lists, s->lists, s->entries, s->n_entries, bank, m->of, digests,
                       m->n, size, differs) == PV_OK);
  for (uint64_t i = 0; i < n_lists; i++) {
    const pv_ima_list *list = &s->lists[i];
    for (uint64_t k = list->first_entry; k < list->first_entry + list->n_entries; k++) {
      const uint8_t *shown = s->binary.bytes + s->binary_at[i] + s->entries[k].digest_at;
      int is_other = list->bank == bank && memcmp(shown, digests + (size_t)m->of[k] * size, size) != 0;
      must(differs[k] == (list->bank != bank ? 2 : is_other && !(s->entries[k].flags & PV_IMA_VIOLATION)));
    }
  }
  free(differs);
}

static void check_replay(const ima_scan *s, uint64_t n_lists, const ima_messages *m, uint32_t bank) {
  uint32_t size = pv_digest_size(bank);
  uint8_t *digests = block(m->n * size), *chains = block(s->n_entries * size);
  uint64_t chain_at[3], found[2];
  uint8_t values[2 * 64] = {0}, targets[2 * 64], again[2 * 64] = {0};
  must(pv_hash_pieces(bank, -1, 0, m->blob.bytes, m->blob.size, m->begins, m->ends, 0, m->n, digests, NULL) == PV_OK);
  must(pv_ima_chains(n_lists, s->lists, s->entries, s->n_entries, 10, bank, m->of, digests, m->n, size, size, chain_at,
                     chains, s->n_entries) == PV_OK);
  must(pv_extend(bank, -1, 0, chains, chain_at, 0, n_lists, values, NULL) == PV_OK);
  memcpy(targets, values, sizeof targets);
  must(pv_seek(bank, -1, chains, chain_at, 0, n_lists, again, targets, found) == PV_OK);
  for (uint64_t i = 0; i < n_lists; i++) {
    must(found[i] <= chain_at[i + 1] - chain_at[i] && memcmp(again + i * size, values + i * size, size) == 0);
  }
  check_mismatch(s, n_lists, m, bank, digests, size);
  free(digests);
  free(chains);
}

/* A set of one member, the path and digest of an entry: that entry is in it, and what is not judged is as its flags say.
 * Then the same set with any numbers in place of its own: refused or judged, but nothing else is read. */
static void check_sets(const ima_scan *s, uint64_t n_lists, const uint8_t *junk, size_t n_junk) {
  uint32_t set_of[2] = {0, 0}, kind = 0, number = 0, *members = (uint32_t *)(void *)block(s->n_entries * 4);
  uint8_t digest[64] = {0}, *outcomes = block(s->n_entries);
  uint64_t slots[2], members_at[2] = {0, 1}, set_at[2] = {0, 1};
  input in = {junk, n_junk};
  for (uint64_t k = 0; k < s->n_entries && k < 8; k++) {
    const pv_ima_entry *e = &s->entries[k];
    uint64_t list = n_lists > 1 && k >= s->lists[1].first_entry;
    const uint8_t *at = s->binary.bytes + s->binary_at[list];
    int64_t path_at[2] = {0, e->path_size};
    bytes path = copy(at + e->path_at, e->path_size);
    kind = e->algorithm | (e->flags & PV_IMA_VERITY ? PV_IMA_KIND_VERITY : 0) |
           (e->flags & PV_IMA_BUFFER ? PV_IMA_KIND_BUFFER : 0);
    memset(digest, 0, sizeof digest);
    memcpy(digest, at + e->file_digest_at, e->file_digest_size);
    must(pv_index(path.bytes, path_at, 1, KEY, slots, 2) == PV_OK);
    pv_ima_sets sets = {path.bytes, path_at, 1, KEY, slots, 2, members_at, &kind, digest, 1, set_at, 1, &number, 1};
    must(pv_ima_check(s->binary.bytes, s->binary_at, n_lists, s->lists, s->entries, s->n_entries, set_of, &sets,
                      outcomes, members) == PV_OK);
    int is_aggregate = k == s->lists[list].first_entry && e->flags & PV_IMA_BOOT_AGGREGATE;
    int is_sound = !(e->flags & (PV_IMA_NO_PATH | PV_IMA_NO_DIGEST | PV_IMA_UNKNOWN_ALGORITHM | PV_IMA_DIGEST_LENGTH));
    must((outcomes[k] == PV_IMA_NOT_JUDGED) == (is_aggregate || e->flags & PV_IMA_VIOLATION));
    must(outcomes[k] == PV_IMA_NOT_JUDGED || (outcomes[k] == PV_IMA_OK) == is_sound);
    uint64_t wild_at[2] = {take_number(&in), take_number(&in)}, wild_set[2] = {take_byte(&in) % 3, take_byte(&in) % 3};
    uint32_t wild = take_byte(&in) % 3;
    slots[0] = take_byte(&in) % 2 ? take_number(&in) : slots[0];
    sets.members_at = wild_at;
    sets.set_at = wild_set;
    sets.numbers = &wild;
    int status = pv_ima_check(s->binary.bytes, s->binary_at, n_lists, s->lists, s->entries, s->n_entries, set_of, &sets,
                              outcomes, members);
    must(status == (wild_set[0] > wild_set[1] || wild_set[1] > 1 ? PV_BAD_ARGUMENT : PV_OK));
    free(path.bytes);
  }
  free(outcomes);
  free(members);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) {
    return 0;
  }
  uint8_t banks[2] = {(uint8_t)(data[0] / 4 % PV_BANKS), 0}, is_ascii[2] = {data[0] & 1, data[0] >> 1 & 1};
  bytes blob = copy(data + 1, size - 1);
  int64_t offsets[3] = {0, (int64_t)blob.size, (int64_t)blob.size};
  uint64_t n = 1;
  for (size_t i = 0; n == 1 && blob.size >= sizeof separator && i <= blob.size - sizeof separator; i++) {
    if (memcmp(blob.bytes + i, separator, sizeof separator) == 0) {
      offsets[n++] = (int64_t)(i + sizeof separator);
    }
  }
  ima_scan s = scan_ima(blob.bytes, offsets, banks, is_ascii, n);
  must(s.status == PV_OK);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t list_size = (uint64_t)(s.binary_at[i + 1] - s.binary_at[i]);
    check_list(&s.lists[i], s.entries, s.n_entries, list_size);
    must(is_ascii[i] ? !s.lists[i].fault && s.lists[i].n_entries == s.translated[i].n_entries
                     : list_size == (uint64_t)(offsets[i + 1] - offsets[i]));
  }
  ima_messages all = messages_of(&s, n, 0), distinct = messages_of(&s, n, KEY);
  must(all.status == PV_OK && distinct.status == PV_OK && all.n == s.n_entries && distinct.n <= all.n);
  for (uint64_t k = 0; k < s.n_entries; k++) {
    uint64_t other = distinct.of[k], bytes_of = (uint64_t)(all.ends[k] - all.begins[k]);
    must(other < distinct.n && (uint64_t)(distinct.ends[other] - distinct.begins[other]) == bytes_of);
    must(memcmp(all.blob.bytes + all.begins[k], distinct.blob.bytes + distinct.begins[other], bytes_of) == 0);
  }
  for (uint32_t bank = 0; bank < PV_BANKS; bank++) {
    check_replay(&s, n, &distinct, bank);
  }
  check_sets(&s, n, data, size);
  free_messages(&all);
  free_messages(&distinct);
  free_ima(&s);
  free(blob.bytes);
  return 0;
}
