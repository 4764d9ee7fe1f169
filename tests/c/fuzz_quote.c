/* libFuzzer target: any bytes as an attest, a signature, a public area and values beside a quote. Two parts, cut by a
 * mark, are also tried together: attest and values, signature and key. Half of the mutations of an attest or a TPMT_SIGNATURE
 * keep its framing. */
#include "mutate.h"

#include "quotes.h"

static const char mark[4] = {'|', 'P', 'V', '|'};

/* What has a size before it in an attest or a TPMT_SIGNATURE (SPEC 8.1, 8.2). */
static size_t find_fields(const uint8_t *data, size_t size, part *parts) {
  static const uint8_t magic[4] = {0xFF, 'T', 'C', 'G'};
  size_t n = 0, at = size > 6 && memcmp(data + 2, magic, 4) == 0 ? 2 : 0;
  int is_attest = size - at > 6 && memcmp(data + at, magic, 4) == 0;
  at += is_attest ? 6 : 4;
  while (size >= at && size - at >= 2 && n < 8) {
    size_t held = (size_t)big_endian(data + at, 2);
    if (held > size - at - 2) {
      break;
    }
    parts[n++] = (part){at, 2 + held, held, 2};
    at += 2 + held;
    if (is_attest && n == 2 && size - at > 29) { /* clock, counters, firmware; then the selections */
      uint64_t selections = big_endian(data + at + 25, 4);
      for (at += 29; selections && size - at > 3; selections--) {
        at += 3 + (data[at + 2] < size - at - 3 ? data[at + 2] : size - at - 3);
      }
    }
  }
  return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  return mutate_parts(data, size, max_size, seed, find_fields, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t cut = 0;
  while (cut + sizeof mark <= size && memcmp(data + cut, mark, sizeof mark) != 0) {
    cut++;
  }
  int both = cut + sizeof mark <= size;
  bytes first = copy(data, both ? cut : size);
  bytes second = both ? copy(data + cut + sizeof mark, size - cut - sizeof mark) : copy(data, size);
  pv_attest attest = check_attest(first);
  check_values(second, &attest);
  check_verify(first, second);
  check_public(first);
  free(first.bytes);
  free(second.bytes);
  return 0;
}
