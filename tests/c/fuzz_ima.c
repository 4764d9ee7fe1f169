/* libFuzzer target: any bytes, as one or two IMA lists, through translation, scan, messages, chains and seek. The first
 * byte says of which bank the lists are and which of them are text. */
#include "ima_lists.h"

static const char separator[8] = {'P', 'V', '-', 'N', 'E', 'X', 'T', '!'};

static void must(int condition) {
  if (!condition) {
    abort();
  }
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
  free(digests);
  free(chains);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
  free_messages(&all);
  free_messages(&distinct);
  free_ima(&s);
  free(blob.bytes);
  return 0;
}
