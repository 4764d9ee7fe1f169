/* One lane of a kernel's state, which is word-major, from and to big-endian bytes: sixteen a wave, so without loops. */
#ifndef PV_STATE_H
#define PV_STATE_H

#include "hash.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define EACH_WORD(i, n) _Pragma("unroll") for (uint32_t i = 0; i < (n); i++)
#else
#define EACH_WORD(i, n) _Pragma("GCC unroll 8") for (uint32_t i = 0; i < (n); i++)
#endif

INLINE void pv_load_32(void *state, uint32_t lanes, uint32_t lane, const uint8_t *bytes, uint32_t words) {
  uint32_t *own = (uint32_t *)state + lane;
  EACH_WORD(i, words) { own[i * lanes] = pv_be32(bytes + 4 * i); }
}

INLINE void pv_load_64(void *state, uint32_t lanes, uint32_t lane, const uint8_t *bytes, uint32_t words) {
  uint64_t *own = (uint64_t *)state + lane;
  EACH_WORD(i, words) { own[i * lanes] = pv_be64(bytes + 8 * i); }
}

INLINE void pv_store_32(const void *state, uint32_t lanes, uint32_t lane, uint8_t *bytes, uint32_t words) {
  const uint32_t *own = (const uint32_t *)state + lane;
  EACH_WORD(i, words) { pv_put_be32(bytes + 4 * i, own[i * lanes]); }
}

INLINE void pv_store_64(const void *state, uint32_t lanes, uint32_t lane, uint8_t *bytes, uint32_t words) {
  const uint64_t *own = (const uint64_t *)state + lane;
  EACH_WORD(i, words) { pv_put_be64(bytes + 8 * i, own[i * lanes]); }
}

/* The size tells the width of a word: 20 bytes of SHA-1, 32 of SHA-256 and SM3, 48 of a SHA-384 digest, 64 of SHA-512. */
static inline void pv_load_lane(void *state, uint32_t lanes, uint32_t lane, const uint8_t *bytes, uint64_t size) {
  switch (size) {
    case 20: pv_load_32(state, lanes, lane, bytes, 5); break;
    case 32: pv_load_32(state, lanes, lane, bytes, 8); break;
    case 48: pv_load_64(state, lanes, lane, bytes, 6); break;
    default: pv_load_64(state, lanes, lane, bytes, 8);
  }
}

static inline void pv_store_lane(const void *state, uint32_t lanes, uint32_t lane, uint8_t *bytes, uint64_t size) {
  switch (size) {
    case 20: pv_store_32(state, lanes, lane, bytes, 5); break;
    case 32: pv_store_32(state, lanes, lane, bytes, 8); break;
    case 48: pv_store_64(state, lanes, lane, bytes, 6); break;
    default: pv_store_64(state, lanes, lane, bytes, 8);
  }
}

#undef INLINE
#undef EACH_WORD
#endif
