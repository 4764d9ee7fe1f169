/* Found in place of the compiler's own header where PV_SIMDE is on: AVX-512 in plain C, so that its kernels run on any
 * x86-64 processor. What their code computes is what is tested, not the processor. */
#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#define _mm256_zeroupper() ((void)0) /* SIMDe has none, nor would it do anything */
#define __AVX512VL__ 1               /* vec_avx2.h then takes the rotates and three-way logic of AVX-512VL */
