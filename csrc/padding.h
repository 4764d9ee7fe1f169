/* The end of a message as blocks of its own: its last bytes, 0x80, zeros and the length (FIPS 180-4, 5.1; GM/T 0004-2012,
 * 5.2). Always in pieces of constant size, which are a few moves each, around the places that the sizes say. */
#ifndef PV_PADDING_H
#define PV_PADDING_H

#include "hash.h"

enum {
  PV_SHORT_BLOCKS = 4, /* a message of no more is copied whole: one run of a kernel then does it, not two */
  PV_TAIL_BLOCKS = 2,  /* those of a longer one that are copied, whether its padding takes one or two */
  PV_TAIL_SLACK = 2 * 128,
  PV_TAIL_ROOM = PV_TAIL_SLACK + PV_SHORT_BLOCKS * 128 + 128, /* what comes before and behind the blocks */
};

/* Blocks of 1 << shift bytes that a message of so many bytes takes: with it go a byte and a length of an eighth of a
 * block, rounded up. */
static inline uint64_t pv_padded_blocks(uint64_t size, unsigned shift) { return (size + (9u << (shift - 3))) >> shift; }

/* Pads the message from its byte `from` on, a block boundary, where `blocks` are left with the padding: PV_TAIL_BLOCKS
 * of a message of more, or PV_SHORT_BLOCKS at most from 0 on. `room` has PV_TAIL_ROOM bytes. Returns the blocks. A
 * message is far below 2^61 bytes, so the upper half of SHA-512's 128-bit length is zero. Called with a constant shift. */
static inline __attribute__((always_inline)) const uint8_t *pv_pad(uint8_t *room, const uint8_t *message, uint64_t size,
                                                                   uint64_t from, uint64_t blocks, unsigned shift) {
  const size_t block = (size_t)1 << shift;
  uint8_t *tail = room + PV_TAIL_SLACK, *end = tail + (size - from), *last = tail + blocks * block;
  if (from) { /* at least a block came before: what is copied too much lies in the message */
    memcpy(end - PV_TAIL_BLOCKS * block, message + size - PV_TAIL_BLOCKS * block, PV_TAIL_BLOCKS * block);
  } else if (size) {
    memcpy(tail, message, size);
  }
  memset(end, 0, block); /* from the end to the last field there is never more */
  if (shift == 7) {
    memset(last - 16, 0, 8);
  }
  *end = 0x80;
  pv_put_be64(last - 8, size * 8);
  return tail;
}

#endif
