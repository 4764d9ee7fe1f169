/* Headers of tar archives, one after the other for as long as nothing stands between them but the data of members.
 * POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format". */
#include <string.h>

#include "pyverify.h"

enum {
  BLOCK = 512,
  NAME_SIZE = 100,
  SIZE_AT = 124,
  SIZE_SIZE = 12,
  SUM_AT = 148,
  SUM_SIZE = 8,
  KIND_AT = 156,
  MAGIC_AT = 257,
  PREFIX_AT = 345,
  PREFIX_SIZE = 155,
  NUMBER_BYTES = 7, /* of a number in base 256 that count: past 64 PiB a seek would overflow */
};

static uint32_t text_size(const uint8_t *text, uint32_t most) {
  const uint8_t *end = memchr(text, 0, most);
  return end ? (uint32_t)(end - text) : most;
}

/* Base 256, as GNU writes what does not fit into octal digits: the first byte marks it, and holds the sign. */
static enum pv_tar_fault read_base256(const uint8_t *field, uint32_t size, uint64_t *number) {
  *number = 0;
  if (field[0] == 0xFF) {
    return PV_TAR_IMPOSSIBLE;
  }
  for (uint32_t i = 1; i < size; i++) {
    if (i < size - NUMBER_BYTES && field[i]) {
      return PV_TAR_IMPOSSIBLE;
    }
    *number = *number << 8 | field[i];
  }
  return PV_TAR_OK;
}

/* Octal digits between spaces and zero bytes, or nothing, which is 0. A field has at most 12: 36 bits. */
static enum pv_tar_fault read_number(const uint8_t *field, uint32_t size, uint64_t *number) {
  if (field[0] == 0x80 || field[0] == 0xFF) {
    return read_base256(field, size, number);
  }
  uint32_t first = 0, last = size;
  while (first < last && (field[first] == ' ' || !field[first])) {
    first++;
  }
  while (first < last && (field[last - 1] == ' ' || !field[last - 1])) {
    last--;
  }
  *number = 0;
  for (; first < last; first++) {
    if (field[first] < '0' || field[first] > '7') {
      return PV_TAR_NOT_OCTAL;
    }
    *number = *number << 3 | (uint64_t)(field[first] - '0');
  }
  return PV_TAR_OK;
}

/* Whether the sum over the header, its own field taken for spaces, is what that field says. */
static int has_its_sum(const uint8_t *header, uint32_t sum) {
  uint64_t said;
  for (uint32_t i = SUM_AT; i < SUM_AT + SUM_SIZE; i++) {
    sum += (uint32_t)' ' - header[i];
  }
  return read_number(header + SUM_AT, SUM_SIZE, &said) == PV_TAR_OK && said == sum;
}

/* Prefix and name with a slash between them, and a zero byte. Returns their size without it. */
static uint32_t write_path(const uint8_t *header, uint8_t *path) {
  static const uint8_t USTAR[6] = "ustar"; /* with its zero byte; GNU writes spaces, and times where the prefix is */
  uint32_t size = 0, name_size = text_size(header, NAME_SIZE);
  if (memcmp(header + MAGIC_AT, USTAR, sizeof USTAR) == 0) {
    size = text_size(header + PREFIX_AT, PREFIX_SIZE);
    memcpy(path, header + PREFIX_AT, size);
    if (size) {
      path[size++] = '/';
    }
  }
  memcpy(path + size, header, name_size);
  size += name_size;
  path[size] = 0;
  return size;
}

static void read_header(const uint8_t *header, pv_tar_header *row, uint8_t *path) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < BLOCK; i++) {
    sum += header[i];
  }
  *path = 0;
  row->kind = header[KIND_AT];
  if (!has_its_sum(header, sum)) {
    row->fault = sum ? PV_TAR_DAMAGED : PV_TAR_ZEROS;
    return;
  }
  row->fault = (uint8_t)read_number(header + SIZE_AT, SIZE_SIZE, &row->size);
  if (row->fault) {
    return;
  }
  row->path_size = write_path(header, path);
  if (row->kind >= '1' && row->kind <= '6') { /* links, devices, folders, FIFOs: no data, whatever the size says */
    row->size = 0;
    row->plain = 1;
  } else {
    int is_file = row->kind == '0' || row->kind == '7' || !row->kind;
    row->plain = is_file && !(row->path_size && path[row->path_size - 1] == '/'); /* how folders were before ustar */
  }
}

int pv_tar_headers(const uint8_t *bytes, uint64_t size, uint64_t at, pv_tar_header *headers, uint64_t capacity,
                   uint64_t *n_headers, uint8_t *paths) {
  *n_headers = 0;
  if (at > size) {
    return PV_BAD_ARGUMENT;
  }
  uint64_t left = size - at, written = 0;
  while (left >= BLOCK && *n_headers < capacity) {
    pv_tar_header *row = &headers[(*n_headers)++];
    *row = (pv_tar_header){.at = size - left, .path_at = written};
    read_header(bytes + row->at, row, paths + written);
    written += row->path_size + 1;
    left -= BLOCK;
    uint64_t padding = (0 - row->size) % BLOCK;
    if (!row->plain || row->size > left || padding > left - row->size) {
      break;
    }
    left -= row->size + padding;
  }
  return PV_OK;
}
