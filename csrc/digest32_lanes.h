/* The frame of a hash whose digest is 32 bytes, half a block: PCR || digest is one block, then comes the padding block.
 * Whoever includes this has IV, compress, compress_padding, and the names EXTEND and COMPRESS. */

void EXTEND(void *state, const uint8_t *const *digests, uint64_t steps) {
  uint32_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  load_eight_words(digests, 0, w + 8);
  for (uint64_t step = 1;; step++) {
    for (int i = 0; i < 8; i++) {
      w[i] = v[i]; /* the PCR is the first half of the message */
      v[i] = SET1(IV[i]);
    }
    compress(v, w);
    if (step < steps) { /* while the padding block keeps the other ports busy */
      load_eight_words(digests, 32 * step, w + 8);
    }
    compress_padding(v);
    if (step == steps) {
      break;
    }
  }
  for (int i = 0; i < 8; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}

void COMPRESS(void *state, const uint8_t *const *blocks, uint64_t n) {
  uint32_t *const words = state;
  VEC v[8], w[16];
  for (int i = 0; i < 8; i++) {
    v[i] = LOAD(words + i * LANES);
  }
  for (uint64_t i = 0; i < n; i++) {
    load_eight_words(blocks, 64 * i, w);
    load_eight_words(blocks, 64 * i + 32, w + 8);
    compress(v, w);
  }
  for (int i = 0; i < 8; i++) {
    STORE(words + i * LANES, v[i]);
  }
  LEAVE();
}
