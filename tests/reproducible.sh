#!/usr/bin/env bash
# Two wheels of the tracked files, of other times and built in folders of other names, are the same bytes:
# `bash tests/reproducible.sh PIP [options of pip wheel]`.
set -euo pipefail
cd "$(dirname "$0")/.."
pip=$(realpath -s "$1")
shift

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export SOURCE_DATE_EPOCH=1700000000  # what is in an archive has a time; this is the only input besides the files

umask 022  # rights of files are in a wheel

build() {  # FOLDER TIME [OPTION...]
  (
    mkdir -p "$tmp/$1/source"
    if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
      git -c safe.directory='*' ls-files -z
    else
      find . -type f -not -path './.venv/*' -not -path './build/*' -not -name '*.pyc' -print0
    fi | xargs -0 cp --parents -t "$tmp/$1/source"
    find "$tmp/$1/source" -exec touch -d "$2" {} +
    "$pip" wheel --quiet --no-deps -w "$tmp/$1" "${@:3}" "$tmp/$1/source"
  )
}
build a 2001-02-03 "$@"
build "another folder/deeper" 2020-01-01 "$@"
cmp "$tmp"/a/*.whl "$tmp/another folder/deeper"/*.whl
sha256sum "$tmp"/a/*.whl | sed 's/ .*/  the wheel, twice/'
