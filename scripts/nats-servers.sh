#!/usr/bin/env bash
# Puts the NATS servers the version tests need into .cache/nats-server/<line>/nats-server.
# They come as signed Debian packages from the mirror this machine already uses, and are only unpacked, never installed.
# Needs Debian with apt-get and dpkg; root is not needed. Does nothing for a server that is already there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/debian.sh
. scripts/debian.sh

# The version lines that are tested, each with the Debian suite that carries it.
WANTED=('2.9 bookworm' '2.10 trixie' '2.15 sid')

fail() {
  echo "nats-servers: $*" >&2
  exit 1
}

# "2.10" for a binary that prints "nats-server: v2.10.27"
line_of() {
  "$1" --version | sed -nE 's/^nats-server: v([0-9]+\.[0-9]+)\..*/\1/p'
}

keep() { # binary, line
  mkdir -p ".cache/nats-server/$2"
  install -m 755 "$1" ".cache/nats-server/$2/nats-server.new"
  mv ".cache/nats-server/$2/nats-server.new" ".cache/nats-server/$2/nats-server"
}

fetch() { # suite, line
  local unpacked=".cache/unpacked-$1" binary line
  rm -rf "$unpacked"
  unpack_from_debian "$1" "$unpacked" nats-server
  binary="$unpacked/usr/sbin/nats-server"
  line="$(line_of "$binary")"
  keep "$binary" "$line"
  rm -rf "$unpacked"
  [ "$line" = "$2" ] || fail "Debian $1 now carries nats-server $line, not $2: bring the list of wanted lines in $0 up to date"
}

for entry in "${WANTED[@]}"; do
  read -r line suite <<<"$entry"
  kept=".cache/nats-server/$line/nats-server"
  if [ ! -x "$kept" ]; then
    installed="$(PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nats-server || true)"
    if [ -n "$installed" ] && [ "$(line_of "$installed")" = "$line" ]; then
      keep "$installed" "$line"
    else
      # shellcheck source=/dev/null
      . /etc/os-release
      [ "${ID:-}" = debian ] || fail "this works on Debian only; put a nats-server $line at $kept"
      fetch "$suite" "$line"
    fi
  fi
  echo "$kept: $("$kept" --version)"
done
