#!/usr/bin/env bash
# The C tests under valgrind: `bash tests/c/memcheck.sh`. Debian packages: valgrind libc6-dbg.
# Portable kernels only: valgrind 3.19 knows no SHA extensions. What valgrind sees and sanitizers do not is reading of
# bytes that nobody wrote. test_hash, test_lanes and test_quote, which try thousands of lengths, are left to the sanitizers.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cmake -S . -B "$build" -DPV_PORTABLE=ON -DCMAKE_C_FLAGS=-g
cmake --build "$build" -j "$(nproc)"
data=tests/data
check() { valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=all "$build/$1" "${@:2}"; }
check test_replay $data/kat_log.bin
check test_edges $data/kat_log.bin $data/quotes/ecdsa_p256 $data/ima/ima-sig.binary $data/ima/ima-sig.ascii
check test_threads $data/kat_log.bin $data/quotes/ecdsa_p256 $data/ima/custom.binary
check test_faults $data/kat_log.bin
check test_truncate $data/kat_log.bin
check test_hunt $data/kat_log.bin
check test_tar
check test_ima $data/ima/ima-buf.binary
