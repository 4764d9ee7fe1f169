/* All the test framework there is: a failed check prints where and what, and main returns check_result(). */
#ifndef PV_CHECK_H
#define PV_CHECK_H

#include <stdint.h>
#include <stdio.h>

#include "key.h"

static int failures;

#define CHECK(condition, ...)                                            \
  do {                                                                   \
    if (!(condition)) {                                                  \
      printf("%s:%d: %s; ", __FILE__, __LINE__, #condition);             \
      printf(__VA_ARGS__);                                               \
      putchar('\n');                                                     \
      failures++;                                                        \
    }                                                                    \
  } while (0)

static inline int check_result(void) {
  printf("%d failed checks\n", failures);
  return failures != 0;
}

/* Whether `size` bytes are the ones written in hex. */
static inline int is_hex(const uint8_t *bytes, size_t size, const char *hex) {
  for (size_t i = 0; i < size; i++) {
    unsigned byte;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1 || byte != bytes[i]) {
      return 0;
    }
  }
  return hex[2 * size] == '\0';
}

#endif
