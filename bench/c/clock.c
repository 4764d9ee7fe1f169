/* A chain of dependent additions, one a cycle: so many of them in a time tell the clock of the core. The second operand
 * is a register, for processors fold additions of constants before they execute them. */
#include <stdint.h>

#define ADD x += y; __asm__ volatile("" : "+r"(x), "+r"(y));
#define ADD8 ADD ADD ADD ADD ADD ADD ADD ADD

uint64_t clock_adds(uint64_t n) {
  uint64_t x = n, y = n | 1;
  for (; n >= 64; n -= 64) {
    ADD8 ADD8 ADD8 ADD8 ADD8 ADD8 ADD8 ADD8
  }
  return x;
}
