#!/bin/sh
# Debian 12 or Ubuntu -> the packages that are needed. Does nothing where all are present; needs root or sudo else.
# Usage: install_dependencies.sh [tests|quickstart]
set -eu

command=./check.sh
packages="g++ cmake ninja-build python3 zlib1g-dev libcli11-dev libpg-query-dev libsqlite3-dev"
case ${1-tests} in
  quickstart) command=./quickstart.sh ;;
  tests) packages="$packages clang git python3-venv catch2 nlohmann-json3-dev libvalijson-dev libeigen3-dev libbenchmark-dev node-typescript" ;;
  *) echo "install_dependencies.sh: \"$1\" is neither tests nor quickstart" >&2 && exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "This is not Debian or Ubuntu. Install what corresponds to these packages, then run $command --no-install:" >&2
  echo "  " $packages >&2
  exit 1
fi
missing=
for package in $packages; do
  case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
  esac
done
if [ -z "$missing" ]; then
  echo "All packages are present."
  exit 0
fi

echo "Installing:$missing"
if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root="sudo -n"
elif command -v sudo >/dev/null && [ -t 0 ]; then
  as_root=sudo
else
  echo "These packages are missing and this user is neither root nor allowed to use sudo:$missing" >&2
  echo "Ask an administrator to run: apt-get install$missing" >&2
  exit 1
fi
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
