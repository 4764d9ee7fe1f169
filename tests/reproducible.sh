#!/usr/bin/env bash
# Two wheels of the tracked files, built in folders of other names, at other times, with other rights, are the same bytes:
# `bash tests/reproducible.sh PIP [options of pip wheel]`.
set -euo pipefail
cd "$(dirname "$0")/.."
pip=$(realpath -s "$1")
shift

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export SOURCE_DATE_EPOCH=1700000000  # what is in an archive has a time; this is the only input besides the files

build() {  # FOLDER UMASK TIME
  (
    umask "$2"
    mkdir -p "$tmp/$1/source"
    if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
      git -c safe.directory='*' ls-files -z
    else
      find . -type f -not -path './.venv/*' -not -path './build/*' -not -name '*.pyc' -print0
    fi | xargs -0 cp --parents -t "$tmp/$1/source"
    find "$tmp/$1/source" -exec touch -d "$3" {} +
    "$pip" wheel --quiet --no-deps -w "$tmp/$1" "${@:4}" "$tmp/$1/source"
  )
}
build a 022 2001-02-03 "$@"
build "another folder/deeper" 077 2020-01-01 "$@"
cmp "$tmp"/a/*.whl "$tmp/another folder/deeper"/*.whl
sha256sum "$tmp"/a/*.whl | sed 's/ .*/  the wheel, twice/'
