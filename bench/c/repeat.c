/* Repeats a call on a small batch, where the call from Python would take longer than the work. The values are not set
 * back in between: an extend takes the same time whatever they are. */
#include <stdint.h>

typedef int core_extend(uint32_t, int32_t, uint64_t, const uint8_t *, const uint64_t *, uint64_t, uint64_t, uint8_t *,
                        void *);
typedef int peer_extend(uint32_t, const uint8_t *, const uint64_t *, uint64_t, uint8_t *);

/* `extend` is pv_extend of csrc/api.h. */
int repeat_core(uintptr_t extend, uint32_t times, uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests,
                const uint64_t *chain_at, uint64_t chains, uint8_t *values) {
  int status = 0;
  while (times-- && !status) {
    status = ((core_extend *)extend)(bank, variant, key, digests, chain_at, 0, chains, values, 0);
  }
  return status;
}

int repeat_peer(uintptr_t extend, uint32_t times, uint32_t bank, const uint8_t *digests, const uint64_t *chain_at,
                uint64_t chains, uint8_t *values) {
  int good = 1;
  while (times-- && good) {
    good = ((peer_extend *)extend)(bank, digests, chain_at, chains, values);
  }
  return good;
}
