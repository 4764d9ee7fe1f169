/* Chains extended by libipsec-mb, up to 128 at once: by its synchronous hash bursts or, where the version has none for
 * plain SHA (1.3 has not), by bursts of jobs. Returns 1, or 0 where the library has no such hash or refuses. Banks are
 * numbered as in csrc/api.h. */
#include <intel-ipsec-mb.h>
#include <stdint.h>
#include <string.h>

enum { BURST = 128, MAX_SIZE = 64 };

static const IMB_HASH_ALG hashes[] = {IMB_AUTH_SHA_1, IMB_AUTH_SHA_256, IMB_AUTH_SHA_384, IMB_AUTH_SHA_512};
static const uint32_t sizes[] = {20, 32, 48, 64};

static IMB_MGR *manager(void) {
  static IMB_MGR *made;
  if (!made && (made = alloc_mb_mgr(0)) != NULL) {
    IMB_ARCH arch;
    init_mb_mgr_auto(made, &arch);
  }
  return made;
}

static uint8_t messages[BURST][2 * MAX_SIZE];

static void describe(IMB_JOB *job, uint8_t *message, uint32_t bank) {
  job->src = job->auth_tag_output = message;
  job->hash_start_src_offset_in_bytes = 0;
  job->msg_len_to_hash_in_bytes = 2 * sizes[bank];
  job->auth_tag_output_len_in_bytes = sizes[bank];
  job->hash_alg = hashes[bank];
  job->cipher_mode = IMB_CIPHER_NULL;
  job->cipher_direction = IMB_DIR_ENCRYPT;
  job->chain_order = IMB_ORDER_HASH_CIPHER;
}

/* Replaces the first half of each message by the message's hash, in a burst of jobs. */
static int hash_as_jobs(IMB_MGR *mb, uint32_t bank, uint32_t n) {
  IMB_JOB *jobs[BURST];
  uint32_t done = 0;
  if (IMB_GET_NEXT_BURST(mb, n, jobs) != n) {
    return 0;
  }
  for (uint32_t i = 0; i < n; i++) {
    describe(jobs[i], messages[i], bank);
  }
  done = IMB_SUBMIT_BURST_NOCHECK(mb, n, jobs);
  while (done < n) {
    uint32_t more = IMB_FLUSH_BURST(mb, n - done, jobs);
    if (!more) {
      return 0;
    }
    done += more;
  }
  return 1;
}

static int hash_messages(IMB_MGR *mb, uint32_t bank, uint32_t n) {
  static IMB_JOB jobs[BURST];
  static int without[sizeof hashes / sizeof *hashes]; /* the banks for which there are no hash bursts */
  if (!without[bank]) {
    for (uint32_t i = 0; i < n; i++) {
      describe(&jobs[i], messages[i], bank);
    }
    if (IMB_SUBMIT_HASH_BURST_NOCHECK(mb, jobs, n, hashes[bank]) == n) {
      return 1;
    }
    without[bank] = 1;
  }
  return hash_as_jobs(mb, bank, n);
}

/* Up to BURST chains, the longest first. The message value || digest lies in one buffer, where the new value takes the
 * place of the old one. */
static int extend_group(IMB_MGR *mb, uint32_t bank, const uint8_t *digests, const uint64_t *chain_at,
                        const uint64_t *order, uint32_t n, uint8_t *values) {
  uint32_t size = sizes[bank], live = n;
  for (uint32_t i = 0; i < n; i++) {
    memcpy(messages[i], values + order[i] * size, size);
  }
  for (uint64_t step = 0;; step++) {
    while (live && chain_at[order[live - 1] + 1] - chain_at[order[live - 1]] <= step) {
      live--;
    }
    if (!live) {
      break;
    }
    for (uint32_t i = 0; i < live; i++) {
      memcpy(messages[i] + size, digests + (chain_at[order[i]] + step) * size, size);
    }
    if (!hash_messages(mb, bank, live)) {
      return 0;
    }
  }
  for (uint32_t i = 0; i < n; i++) {
    memcpy(values + order[i] * size, messages[i], size);
  }
  return 1;
}

/* `order` are the numbers of the chains, the longest first. */
int ipsec_mb_extend(uint32_t bank, const uint8_t *digests, const uint64_t *chain_at, const uint64_t *order,
                    uint64_t chains, uint8_t *values) {
  IMB_MGR *mb = manager();
  int good = mb && bank < sizeof hashes / sizeof *hashes;
  for (uint64_t first = 0; good && first < chains; first += BURST) {
    uint32_t n = chains - first < BURST ? (uint32_t)(chains - first) : BURST;
    good = extend_group(mb, bank, digests, chain_at, order + first, n, values);
  }
  return good;
}
