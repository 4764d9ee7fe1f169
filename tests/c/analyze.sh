#!/usr/bin/env bash
# Static analysis of the core, clean or an error: `bash tests/c/analyze.sh`. Debian packages: gcc clang.
# Both analyzers see every file with branches worth following; gcc's takes minutes for a kernel of unrolled rounds (files
# named by hash and instruction set), which has none, so those are clang's alone.
set -euo pipefail
cd "$(dirname "$0")/../../csrc"

analyze() {  # FILE
  local flags=()
  case $1 in
    *_neon.c | *_armv8.c) return ;;  # of another processor
    *_avx512*.c) flags=(-mavx512f -mavx512bw -mavx512vl -mavx512dq) ;;
    *_avx2.c) flags=(-mavx2) ;;
    *_shani.c) flags=(-msse4.1 -msha) ;;
  esac
  clang -std=c11 --analyze --analyzer-output text -Xclang -analyzer-werror "${flags[@]}" "$1"
  if [[ $1 != sha[0-9]*_*.c && $1 != sm3_*.c ]]; then
    gcc -std=c11 -O2 -fanalyzer -Werror "${flags[@]}" -c "$1" -o /dev/null
  fi
}
export -f analyze
printf '%s\n' *.c | grep -vx ffi_prelude.c | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'analyze {}'
