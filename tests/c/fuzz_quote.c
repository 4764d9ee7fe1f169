/* libFuzzer target: any bytes as an attest, a signature, a public area and values beside a quote. Two parts, cut by a
 * mark, are also tried together: attest and values, signature and key. */
#include <stdlib.h>

#include "key.h"

static void must(int condition) {
  if (!condition) {
    abort();
  }
}

#include "quotes.h"

static const char mark[4] = {'|', 'P', 'V', '|'};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
