/* Texts, eight bytes at a time in a general register. */
#include <stdint.h>
#include <string.h>

#define WIDTH 8
#define VEC uint64_t
#define SET1(byte) ((byte) * UINT64_C(0x0101010101010101))
#define EQUAL_BITS equal_bits
#define MARK_TEXTS pv_mark_texts_portable

/* A byte of `same` is zero where the bytes are equal; the products gather the top bits of the eight. */
static inline uint32_t equal_bits(const uint8_t *p, uint64_t rare) {
  const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
  uint64_t word;
  memcpy(&word, p, 8);
  uint64_t same = word ^ rare;
  uint64_t top = ~(((same & low) + low) | same | low); /* 0x80 in each byte that is zero, and no other */
  return (uint32_t)((top >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

#include "hunt_vectors.h"
