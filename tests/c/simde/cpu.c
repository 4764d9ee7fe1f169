/* In place of csrc/cpu.c where PV_SIMDE is on: a processor that is this one, and has AVX-512. */
#define pv_cpu_features features_of_this_machine
#include "../../../csrc/cpu.c"
#undef pv_cpu_features

uint32_t pv_cpu_features(void);

uint32_t pv_cpu_features(void) { return features_of_this_machine() | PV_CPU_AVX512; }
