set(data ${src}/tests/data)
file(GLOB logs CONFIGURE_DEPENDS ${data}/*.bin ${data}/logs/*.bin)

if(PV_FUZZ)
  target_compile_options(pvcore PRIVATE -fsanitize=fuzzer-no-link)
  add_executable(fuzz_eventlog tests/c/fuzz_eventlog.c)
  target_compile_options(fuzz_eventlog PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_eventlog PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_eventlog pvcore)
  file(COPY ${logs} DESTINATION ${CMAKE_CURRENT_BINARY_DIR}/seeds)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/corpus)
  add_test(NAME fuzz_eventlog COMMAND fuzz_eventlog -max_total_time=10 -max_len=32768
    -dict=${src}/tests/c/fuzz_eventlog.dict corpus seeds)
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
pv_test(test_lanes)
if(CMAKE_CROSSCOMPILING_EMULATOR AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  # The emulated processor has every extension, so every variant must be there: none dropped for want of a flag.
  set_tests_properties(test_lanes PROPERTIES FAIL_REGULAR_EXPRESSION "test_lanes.c:"
    PASS_REGULAR_EXPRESSION "bank 1: portable neon armv8;.*bank 4: portable neon armv8;")
endif()
if(PV_SIMDE)
  set_tests_properties(test_lanes PROPERTIES FAIL_REGULAR_EXPRESSION "test_lanes.c:"
    PASS_REGULAR_EXPRESSION "bank 0:[^;]* avx512;.*bank 1:[^;]* avx512vl avx512;.*bank 4:[^;]* avx512vl avx512;")
endif()
