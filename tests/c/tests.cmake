set(data ${src}/tests/data)
file(GLOB logs CONFIGURE_DEPENDS ${data}/*.bin ${data}/logs/*.bin)
file(GLOB ima_lists CONFIGURE_DEPENDS ${data}/ima/*.binary* ${data}/ima/*.ascii)

set(quote_kinds rsassa rsapss ecdsa_p256 ecdsa_p384 sm2)

if(PV_FUZZ)  # tests/fuzz runs them, and has their seeds
  target_compile_options(pvcore PRIVATE -fsanitize=fuzzer-no-link)
  foreach(name eventlog ima quote hunt lookup lanes)
    add_executable(fuzz_${name} tests/c/fuzz_${name}.c)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} pvcore)
  endforeach()
  return()
endif()

function(pv_test name)  # pv_test(name arguments...)
  add_executable(${name} tests/c/${name}.c)
  target_link_libraries(${name} pvcore)
  add_test(NAME ${name} COMMAND ${name} ${ARGN})
endfunction()

pv_test(test_hash)
pv_test(test_replay ${data}/kat_log.bin)
pv_test(test_faults ${data}/kat_log.bin)
pv_test(test_truncate ${logs})
pv_test(test_hunt ${logs})
pv_test(test_lanes)
set(quotes ${quote_kinds})
list(TRANSFORM quotes PREPEND ${data}/quotes/)
pv_test(test_quote ${quotes})
pv_test(test_ima ${ima_lists})
if(CMAKE_CROSSCOMPILING_EMULATOR AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  # The emulated processor has every extension, so every variant must be there: none dropped for want of a flag.
  set_tests_properties(test_lanes PROPERTIES FAIL_REGULAR_EXPRESSION "test_lanes.c:"
    PASS_REGULAR_EXPRESSION "bank 1: portable neon armv8;.*bank 4: portable neon armv8;")
endif()
if(PV_SIMDE)
  set_tests_properties(test_lanes PROPERTIES FAIL_REGULAR_EXPRESSION "test_lanes.c:"
    PASS_REGULAR_EXPRESSION "bank 0:[^;]* avx512;.*bank 1:[^;]* avx512vl avx512;.*bank 4:[^;]* avx512vl avx512;")
endif()
