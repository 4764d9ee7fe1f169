/* libFuzzer target: walks over the headers of a tar in any bytes, whose sums are made right where the first byte says so.
 * Rows follow each other as their sizes say, paths are whole, and a walk gives what single steps give. */
#include "fuzz.h"

enum { BLOCK = 512, SUM_AT = 148, SUM_SIZE = 8, MOST = 9 };

static uint32_t sum_of(const uint8_t *header) {
  uint32_t sum = SUM_SIZE * ' ';
  for (uint32_t i = 0; i < BLOCK; i++) {
    sum += i < SUM_AT || i >= SUM_AT + SUM_SIZE ? header[i] : 0;
  }
  return sum;
}

static void seal(bytes tar) {
  for (size_t at = 0; at + BLOCK <= tar.size; at += BLOCK) {
    char digits[SUM_SIZE];
    snprintf(digits, sizeof digits, "%06o", sum_of(tar.bytes + at));
    memcpy(tar.bytes + at + SUM_AT, digits, sizeof digits);
  }
}

typedef struct {
  pv_tar_header *rows;
  uint8_t *paths;
  uint64_t n;
} walk;

static walk walk_from(bytes tar, uint64_t at, uint64_t capacity) {
  walk w = {(pv_tar_header *)(void *)block(capacity * sizeof *w.rows), block(capacity * PV_TAR_PATH), 0};
  must(pv_tar_headers(tar.bytes, tar.size, at, w.rows, capacity, &w.n, w.paths) == PV_OK);
  must(w.n <= capacity);
  return w;
}

static void done(walk w) {
  free(w.rows);
  free(w.paths);
}

static void check_row(bytes tar, const walk *w, uint64_t i, uint64_t written) {
  const pv_tar_header *row = &w->rows[i];
  must(row->at + BLOCK <= tar.size && row->path_at == written && row->path_size < PV_TAR_PATH);
  must(strlen((const char *)w->paths + row->path_at) == row->path_size);
  must(row->plain || i + 1 == w->n); /* behind what is not plain nobody knows where a header is */
  must(!row->plain || !row->fault);
  walk one = walk_from(tar, row->at, 1);
  pv_tar_header first = *one.rows;
  must(one.n == 1 && memcmp(one.paths, w->paths + row->path_at, row->path_size + 1) == 0);
  first.path_at = row->path_at;
  must(memcmp(&first, row, sizeof first) == 0);
  done(one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  uint32_t flags = take_byte(&in), capacity = take_below(&in, MOST);
  uint64_t at = take_byte(&in);
  bytes tar = take_rest(&in);
  if (flags & 1) {
    seal(tar);
  }
  at = flags & 2 ? at : 0;
  if (at > tar.size) {
    uint64_t n = 1;
    must(pv_tar_headers(tar.bytes, tar.size, at, NULL, 0, &n, NULL) == PV_BAD_ARGUMENT && n == 0);
    free(tar.bytes);
    return 0;
  }
  walk w = walk_from(tar, at, capacity);
  uint64_t expected = at, written = 0;
  for (uint64_t i = 0; i < w.n; i++) {
    must(w.rows[i].at == expected);
    check_row(tar, &w, i, written);
    expected += BLOCK + (w.rows[i].size + BLOCK - 1) / BLOCK * BLOCK;
    written += w.rows[i].path_size + 1;
  }
  done(w);
  free(tar.bytes);
  return 0;
}
