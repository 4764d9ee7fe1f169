/* Headers of tars: numbers, sums and paths of each, where the walk goes on and where it ends. Buffers are as large as they
 * must be and no larger, so that AddressSanitizer sees whatever is read or written beside them. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pyverify.h"

enum { BLOCK = 512, MOST = 8 };

typedef struct {
  uint8_t bytes[16 * BLOCK];
  uint64_t size;
} tar;

static void seal(uint8_t *header) {
  memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (int i = 0; i < BLOCK; i++) {
    sum += header[i];
  }
  snprintf((char *)header + 148, 8, "%06o", sum);
}

/* A header and its data, in blocks; returns where the header is. */
static uint8_t *add(tar *t, const char *name, char kind, unsigned size) {
  uint8_t *header = t->bytes + t->size;
  memset(header, 0, BLOCK);
  memcpy(header, name, strlen(name));
  snprintf((char *)header + 124, 12, "%011o", size);
  header[156] = (uint8_t)kind;
  memcpy(header + 257, "ustar", 6);
  seal(header);
  t->size += BLOCK + (kind >= '1' && kind <= '6' ? 0 : (size + BLOCK - 1) / BLOCK * BLOCK);
  return header;
}

typedef struct {
  int status;
  uint64_t n;
  pv_tar_header rows[MOST];
  char paths[MOST][PV_TAR_PATH];
} walk;

static walk walk_over(const uint8_t *bytes, uint64_t size, uint64_t at, uint64_t capacity) {
  walk w = {0};
  uint8_t *own = malloc(size), *paths = malloc(capacity * PV_TAR_PATH);
  pv_tar_header *rows = malloc(capacity * sizeof *rows);
  memcpy(own, bytes, size);
  w.status = pv_tar_headers(own, size, at, rows, capacity, &w.n, paths);
  for (uint64_t i = 0; w.status == PV_OK && i < w.n; i++) {
    w.rows[i] = rows[i];
    strcpy(w.paths[i], (char *)paths + rows[i].path_at);
    CHECK(strlen(w.paths[i]) == rows[i].path_size, "row %d", (int)i);
  }
  free(own), free(paths), free(rows);
  return w;
}

static void check_walk(void) {
  tar t = {0};
  add(&t, "a", '0', 700);
  add(&t, "b/", '5', 900);
  memcpy(add(&t, "c", '7', 0) + 345, "above", 5);
  seal(t.bytes + t.size - BLOCK);
  add(&t, "d", 'x', 10);
  add(&t, "e", '0', 1);
  static const char *const names[] = {"a", "b/", "above/c", "d"};
  static const uint64_t sizes[] = {700, 0, 0, 10}, at[] = {0, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK};
  for (uint64_t cut = 0; cut <= t.size; cut++) { /* the data of the last one may be cut, the header may not */
    walk w = walk_over(t.bytes, cut, 0, MOST);
    uint64_t whole = cut < BLOCK ? 0 : cut < 4 * BLOCK ? 1 : cut < 5 * BLOCK ? 2 : cut < 6 * BLOCK ? 3 : 4;
    CHECK(w.status == PV_OK && w.n == whole, "cut at %d: %d", (int)cut, (int)w.n);
    for (uint64_t i = 0; i < w.n; i++) {
      CHECK(strcmp(w.paths[i], names[i]) == 0 && w.rows[i].size == sizes[i] && w.rows[i].at == at[i] &&
                !w.rows[i].fault && w.rows[i].plain == (i < 3), "cut at %d, row %d", (int)cut, (int)i);
    }
  }
  for (uint64_t capacity = 0; capacity < 4; capacity++) {
    CHECK(walk_over(t.bytes, t.size, 0, capacity).n == capacity, "%d", (int)capacity);
  }
  CHECK(walk_over(t.bytes, t.size, 3 * BLOCK, MOST).n == 3, "from the middle");
  CHECK(walk_over(t.bytes, t.size, t.size, MOST).n == 0, "from the end");
  CHECK(walk_over(t.bytes, t.size, t.size + 1, MOST).status == PV_BAD_ARGUMENT, "from past the end");
}

static void check_longest_path(void) {
  tar t = {0};
  uint8_t *header = add(&t, "", '0', 0);
  memset(header, 'n', 100);
  memset(header + 345, 'p', 155);
  seal(header);
  CHECK(walk_over(t.bytes, BLOCK, 0, 1).rows[0].path_size == PV_TAR_PATH - 1, "all of both");
  memcpy(header + 257, "ustar  ", 8); /* GNU, which has times there */
  seal(header);
  CHECK(walk_over(t.bytes, BLOCK, 0, 1).rows[0].path_size == 100, "the name alone");
  header[99] = '/';
  seal(header);
  CHECK(!walk_over(t.bytes, BLOCK, 0, 1).rows[0].plain, "a folder as before ustar");
}

static void check_size(const char *field, uint64_t size, enum pv_tar_fault fault) {
  tar t = {0};
  uint8_t *header = add(&t, "a", '0', 0);
  memcpy(header + 124, field, 12);
  seal(header);
  walk w = walk_over(t.bytes, BLOCK, 0, 2);
  CHECK(w.n == 1 && w.rows[0].fault == fault && (fault || w.rows[0].size == size), "%.12s", field);
  CHECK(!fault || (w.rows[0].path_size == 0 && !w.rows[0].plain), "%.12s", field);
}

static void check_numbers(void) {
  check_size("00000001750\0", 1000, PV_TAR_OK);
  check_size("       1750 ", 1000, PV_TAR_OK);
  check_size("\0\0\0 1750 \0\0\0", 1000, PV_TAR_OK);
  check_size("777777777777", 0777777777777, PV_TAR_OK);
  check_size("            ", 0, PV_TAR_OK);
  check_size("\x80\0\0\0\0\0\0\0\0\1\0\2", 65538, PV_TAR_OK);
  check_size("\x80\0\0\0\0\xff\xff\xff\xff\xff\xff\xff", 0xffffffffffffff, PV_TAR_OK);
  check_size("\x80\0\0\0\1\0\0\0\0\0\0\0", 0, PV_TAR_IMPOSSIBLE);
  check_size("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0, PV_TAR_IMPOSSIBLE);
  check_size("00000000008\0", 0, PV_TAR_NOT_OCTAL);
  check_size("-0000000001\0", 0, PV_TAR_NOT_OCTAL);
  check_size("1 1\0\0\0\0\0\0\0\0\0", 0, PV_TAR_NOT_OCTAL);
  check_size("\x81\0\0\0\0\0\0\0\0\0\0\1", 0, PV_TAR_NOT_OCTAL);
}

static void check_damage(void) {
  static const uint8_t zeros[BLOCK];
  CHECK(walk_over(zeros, BLOCK, 0, 1).rows[0].fault == PV_TAR_ZEROS, "zeros");
  tar t = {0};
  uint8_t *header = add(&t, "name", '0', 5);
  for (int i = 0; i < BLOCK; i++) {
    for (int bit = 0; bit < 8; bit++) {
      /* Of the sum: its first digit is 0, which may be a space, and of what follows the last either may be the other. */
      int is_same = (i == 148 && bit == 4) || ((i == 154 || i == 155) && bit == 5);
      header[i] ^= (uint8_t)(1 << bit);
      CHECK(walk_over(t.bytes, BLOCK, 0, 1).rows[0].fault == (is_same ? PV_TAR_OK : PV_TAR_DAMAGED), "byte %d, bit %d", i,
            bit);
      header[i] ^= (uint8_t)(1 << bit);
    }
  }
}

int main(void) {
  check_walk();
  check_longest_path();
  check_numbers();
  check_damage();
  return check_result();
}
