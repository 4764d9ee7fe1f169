/* What the fuzz targets share: a check that stops the run, and an input that is used up from its front. */
#ifndef PV_FUZZ_H
#define PV_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(int condition) {
  if (!condition) {
    abort();
  }
}

/* Where n bytes begin that are `wanted`, or `size`. */
static inline size_t find_bytes(const uint8_t *data, size_t size, const char *wanted, size_t n) {
  for (size_t at = 0; n <= size && at <= size - n; at++) {
    if (memcmp(data + at, wanted, n) == 0) {
      return at;
    }
  }
  return size;
}

typedef struct {
  const uint8_t *at;
  size_t left;
} input;

/* The next byte; 0 where there is none. */
static inline uint8_t take_byte(input *in) {
  if (!in->left) {
    return 0;
  }
  in->left--;
  return *in->at++;
}

/* A number below `below`, which is at most 256, out of the next byte. */
static inline uint32_t take_below(input *in, uint32_t below) { return take_byte(in) % below; }

/* A number of the next eight bytes, little-endian. */
static inline uint64_t take_number(input *in) {
  uint64_t number = 0;
  for (unsigned i = 0; i < 8; i++) {
    number |= (uint64_t)take_byte(in) << (8 * i);
  }
  return number;
}

/* A block of exactly this size, out of the next bytes; where they end they are used again, so that much repeats. */
static inline bytes take_block(input *in, size_t size) {
  bytes b = {block(size), size};
  input again = *in;
  for (size_t i = 0; i < size; i++) {
    if (!again.left) {
      again = *in;
    }
    b.bytes[i] = take_byte(&again);
  }
  *in = again;
  return b;
}

/* All that is left, in a block of its own. */
static inline bytes take_rest(input *in) {
  bytes b = copy(in->at, in->left);
  in->left = 0;
  return b;
}

#endif
