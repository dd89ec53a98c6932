#!/usr/bin/env bash
# Writes SHA256SUMS into a folder, or checks that the folder holds what it lists, unchanged, and nothing else. Who downloads
# the files of a release checks them with `sha256sum --check --ignore-missing SHA256SUMS`.
# Usage: scripts/checksums.sh write|check FOLDER
set -euo pipefail

fail() {
  echo "checksums: $1" >&2
  exit 1
}
[[ $# -eq 2 && $1 =~ ^(write|check)$ ]] || fail "usage: scripts/checksums.sh write|check FOLDER"
cd "$2"
sums="$(find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort --zero-terminated |
  xargs --null --no-run-if-empty sha256sum --)"
[[ -n $sums ]] || fail "$2 holds no files"

if [[ $1 == write ]]; then
  tee SHA256SUMS <<<"$sums"
else
  [[ -f SHA256SUMS ]] || fail "$2 has no SHA256SUMS"
  difference="$(diff SHA256SUMS - <<<"$sums")" || fail "$2 isn't what SHA256SUMS says:"$'\n'"$difference"
fi
