#!/usr/bin/env bash
# A checkout on Debian 12 or Ubuntu, with nothing but git -> everything built with g++ and clang++, every test run.
# Usage: ./check.sh [--no-install]. Ends with one line: what passed, or the stage that failed.
set -euo pipefail
cd "$(dirname "$0")"

started=$SECONDS
passed=()
skipped=()
stage=start
log() { printf '\n== %s (%d s) ==\n' "$1" $((SECONDS - started)); }
finish() {
  local status=$?
  if [ "$status" -ne 0 ]; then
    echo "check.sh: FAILED in stage \"$stage\" after $((SECONDS - started)) s."
  fi
}
trap finish EXIT
run() {  # run NAME command...: the first stage that fails ends the script; status 3 means that it could not be run here
  stage=$1
  shift
  log "$stage"
  local status=0
  "$@" || status=$?
  case $status in
    0) passed+=("$stage") ;;
    3) skipped+=("$stage") && echo "SKIPPED: $stage" ;;
    *) return "$status" ;;
  esac
}

if [ "${1-}" != "--no-install" ]; then
  run "packages" tools/install_dependencies.sh
fi
run "format" tools/format.sh --check
for preset in ci clang; do
  run "configure $preset" cmake --preset "$preset"
  run "build $preset" cmake --build --preset "$preset"
  run "test $preset" ctest --preset "$preset" -j "$(nproc)"
done

summary="check.sh: all passed in $((SECONDS - started)) s: $(printf '%s, ' "${passed[@]}" | sed 's/, $//')"
[ ${#skipped[@]} -eq 0 ] || summary+="; SKIPPED: ${skipped[*]}"
echo "$summary."
