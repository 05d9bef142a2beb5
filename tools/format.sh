#!/bin/sh
# Formats every C++ file of the tree with the pinned clang-format; with --check it only names the files that differ.
# Exit 0: all well. 1: files differ. 3: the pinned version could not be installed.
set -eu
cd "$(dirname "$0")/.."

version=21.1.8
tool=.cache/clang-format-$version/bin/clang-format
if ! "$tool" --version 2>/dev/null | grep -q "$version"; then
  python3 -m venv ".cache/clang-format-$version" &&
    ".cache/clang-format-$version/bin/pip" install --quiet --disable-pip-version-check "clang-format==$version" || {
    echo "clang-format $version could not be installed with pip (no network?)." >&2
    exit 3
  }
fi
files=$(find . \( -name build -o -name '.?*' \) -prune -o \( -name '*.[ch]pp' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' \) -print)
case ${1-} in
  --check) "$tool" --dry-run --Werror $files ;;
  "") "$tool" -i $files ;;
  *) echo "usage: tools/format.sh [--check]" >&2; exit 2 ;;
esac
