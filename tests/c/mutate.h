/* Mutations that keep the framing of what consists of sized parts, for libFuzzer: parts are taken out, doubled and moved,
 * and what a part holds changes with the size that is written before it. Half of all mutations are libFuzzer's own. */
#ifndef PV_MUTATE_H
#define PV_MUTATE_H

#include "fuzz.h"

enum { MOST_PARTS = 512, WIDEST = 8 };

/* One part, [at, at + size) of the input: its last held_size bytes are what it holds, the size of which is written
 * in the `width` bytes before them. A width of 0 is a part without a size, which is only moved. */
typedef struct {
  size_t at, size, held_size;
  unsigned width;
} part;

/* Finds the parts of an input, in order and at most MOST_PARTS; whatever does not look like one is skipped or ends it. */
typedef size_t find_parts(const uint8_t *data, size_t size, part *parts);

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static inline uint64_t little_endian(const uint8_t *p, unsigned width) {
  uint64_t number = 0;
  for (unsigned i = 0; i < width; i++) {
    number |= (uint64_t)p[i] << (8 * i);
  }
  return number;
}

static inline uint64_t big_endian(const uint8_t *p, unsigned width) {
  uint64_t number = 0;
  for (unsigned i = 0; i < width; i++) {
    number = number << 8 | p[i];
  }
  return number;
}

static inline void write_size(uint8_t *p, unsigned width, uint64_t size, int is_big) {
  for (unsigned i = 0; i < width; i++) {
    p[is_big ? width - 1 - i : i] = (uint8_t)(size >> (8 * i));
  }
}

/* [at, at + old) of the input becomes `size` bytes, which the caller fills in; the new size of the whole, or 0 where
 * that is too much. */
static inline size_t resize(uint8_t *data, size_t whole, size_t max_size, size_t at, size_t old, size_t size) {
  if (size > old && size - old > max_size - whole) {
    return 0;
  }
  memmove(data + at + size, data + at + old, whole - at - old);
  return whole - old + size;
}

/* A part twice: again behind another one. */
static inline size_t repeat_part(uint8_t *data, size_t whole, size_t max_size, part from, part behind) {
  bytes held = copy(data + from.at, from.size);
  size_t at = behind.at + behind.size, grown = resize(data, whole, max_size, at, 0, from.size);
  if (grown) {
    memcpy(data + at, held.bytes, held.size);
  }
  free(held.bytes);
  return grown;
}

static inline size_t change_held(uint8_t *data, size_t whole, size_t max_size, part p, int is_big) {
  size_t at = p.at + p.size - p.held_size, room = p.held_size + (max_size - whole);
  size_t most = p.held_size + 64 < room ? p.held_size + 64 : room;
  if (!p.width || !most) {
    return 0;
  }
  bytes held = {block(most), p.held_size};
  memcpy(held.bytes, data + at, p.held_size);
  size_t size = LLVMFuzzerMutate(held.bytes, p.held_size, most);
  size_t changed = resize(data, whole, max_size, at, p.held_size, size);
  if (changed) {
    memcpy(data + at, held.bytes, size);
    write_size(data + at - p.width, p.width, size, is_big);
  }
  free(held.bytes);
  return changed;
}

static inline size_t mutate_parts(uint8_t *data, size_t size, size_t max_size, unsigned seed, find_parts *find,
                                  int is_big) {
  static part parts[MOST_PARTS];
  size_t n = size <= max_size && seed % 2 ? find(data, size, parts) : 0, changed = 0;
  if (n) {
    part one = parts[seed / 8 % n], other = parts[seed / 8 / n % n];
    switch (seed / 2 % 4) {
    case 0: /* what is left may be nothing */
      changed = size > one.size ? resize(data, size, max_size, one.at, one.size, 0) : 0;
      break;
    case 1:
      changed = repeat_part(data, size, max_size, one, other);
      break;
    default:
      changed = change_held(data, size, max_size, one, is_big);
    }
  }
  return changed ? changed : LLVMFuzzerMutate(data, size, max_size);
}

#endif
