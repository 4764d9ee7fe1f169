/* A chain of dependent additions, one a cycle: so many of them in a time tell the clock of the core. Four chains at once
 * take no longer on a core that nobody shares; they do when another hardware thread of the core is at work. The second
 * operand is a register, for processors fold additions of constants before they execute them. */
#include <stdint.h>

#define ADD(x) x += y; __asm__ volatile("" : "+r"(x), "+r"(y));
#define ADD8 ADD(x) ADD(x) ADD(x) ADD(x) ADD(x) ADD(x) ADD(x) ADD(x)
#define FOUR ADD(a) ADD(b) ADD(c) ADD(d)
#define FOUR8 FOUR FOUR FOUR FOUR FOUR FOUR FOUR FOUR

uint64_t clock_adds(uint64_t n) {
  uint64_t x = n, y = n | 1;
  for (; n >= 64; n -= 64) {
    ADD8 ADD8 ADD8 ADD8 ADD8 ADD8 ADD8 ADD8
  }
  return x;
}

uint64_t clock_four_chains(uint64_t n) {
  uint64_t a = n, b = 1, c = 2, d = 3, y = n | 1;
  for (; n >= 64; n -= 64) {
    FOUR8 FOUR8 FOUR8 FOUR8 FOUR8 FOUR8 FOUR8 FOUR8
  }
  return a + b + c + d;
}
