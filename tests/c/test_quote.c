/* Quotes of every key type, cut at every byte and with every byte changed, through all readers of quotes.
 * Arguments: folders with quote.msg, quote.sig, quote.pcrs and ak.pub. */
#include "check.h"

static void must(int condition) { CHECK(condition, "what must hold of any bytes does not"); }

#include "quotes.h"

static bytes read_part(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return read_file(path);
}

/* Calls `check` with every prefix, and with every byte changed in two ways. */
static void vary(bytes item, void (*check)(bytes, const void *), const void *other) {
  for (size_t size = 0; size <= item.size; size++) {
    bytes prefix = copy(item.bytes, size);
    check(prefix, other);
    free(prefix.bytes);
  }
  for (size_t i = 0; i < item.size; i++) {
    bytes changed = copy(item.bytes, item.size);
    changed.bytes[i] = 0xFF;
    check(changed, other);
    changed.bytes[i] = (uint8_t)(item.bytes[i] ^ 1);
    check(changed, other);
    free(changed.bytes);
  }
}

static void try_attest(bytes item, const void *values) {
  pv_attest attest = check_attest(item);
  check_values(*(const bytes *)values, &attest);
}
static void try_values(bytes item, const void *attest) { check_values(item, attest); }
static void try_signature(bytes item, const void *key) { check_verify(item, *(const bytes *)key); }
static void try_key(bytes item, const void *signature) { check_verify(*(const bytes *)signature, item); }

static void check_bad_arguments(bytes signature, bytes key) {
  int64_t backwards[] = {1, 0}, signature_offsets[] = {0, (int64_t)signature.size}, key_offsets[] = {0, (int64_t)key.size};
  pv_attest attest;
  CHECK(pv_attest_decode(signature.bytes, backwards, 0, 1, &attest) == PV_BAD_ARGUMENT, "offsets");
  pv_signature g = check_signature(signature), outside = g;
  pv_public k = check_public(key);
  outside.r_at = UINT32_MAX;
  uint32_t zero = 0, one = 1, five = 5, scheme = g.scheme;
  uint8_t digest[64] = {0}, result;
  uint64_t order = 0;
  pv_signed good = {signature.bytes, signature_offsets, &g, key.bytes, key_offsets, &k, &zero, &scheme, &one, digest, 1, 1};
  pv_signed no_key = good, no_hash = good, no_part = good, no_row = good;
  no_key.key = &one;
  no_hash.hash = &five;
  no_part.signatures = &outside;
  no_row.n = 0;
  const pv_signed *bad[] = {&no_key, &no_hash, &no_part, &no_row};
  CHECK(pv_verify_signatures(&believer, &good, &order, 0, 1, &result) == PV_OK && result == PV_SIGNATURE_GOOD, "good");
  for (unsigned i = 0; i < 4; i++) {
    CHECK(pv_verify_signatures(&believer, bad[i], &order, 0, 1, &result) == PV_BAD_ARGUMENT, "bad %u", i);
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    bytes msg = read_part(argv[i], "quote.msg"), sig = read_part(argv[i], "quote.sig");
    bytes key = read_part(argv[i], "ak.pub"), pcrs = read_part(argv[i], "quote.pcrs");
    pv_attest attest = check_attest(msg);
    CHECK(!attest.fault && !check_signature(sig).fault && !check_public(key).fault, "%s", argv[i]);
    vary(msg, try_attest, &pcrs);
    vary(pcrs, try_values, &attest);
    vary(sig, try_signature, &key);
    vary(key, try_key, &sig);
    check_bad_arguments(sig, key);
    free(msg.bytes), free(sig.bytes), free(key.bytes), free(pcrs.bytes);
  }
  return argc > 1 ? check_result() : 2;
}
