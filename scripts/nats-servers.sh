#!/usr/bin/env bash
# Puts the NATS servers the version tests need into .cache/nats-server/<line>/nats-server.
# They come as signed Debian packages from the mirror this machine already uses, and are only unpacked, never installed.
# Needs Debian with apt-get and dpkg; root is not needed. Does nothing for a server that is already there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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

# Writes this machine's own Debian sources, turned to another suite, into a private apt folder.
# Mirror, components and signing keys stay as they are; update and security suites are left out.
derive_sources() { # suite, folder
  local own="$VERSION_CODENAME" file found=0
  shopt -s nullglob
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -nE "s/^(deb[[:space:]]+(\[[^]]*\][[:space:]]+)?[^[:space:]]+[[:space:]]+)$own([[:space:]].*)/\1$1\3/p" "$file" \
      >"$2/sources.list.d/$(basename "$file" .list).list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    awk -v own="$own" -v suite="$1" '
      BEGIN { RS = ""; FS = "\n" }
      $0 ~ "(^|\n)Suites:[^\n]*[ \t]" own "([ \t\n]|$)" {
        for (i = 1; i <= NF; i++)
          if ($i ~ /^Suites:/) print "Suites: " suite
          else if ($i ~ /^Types:/) print "Types: deb"
          else if ($i !~ /^#/) print $i
        print ""
      }' "$file" >"$2/sources.list.d/$(basename "$file")"
  done
  for file in "$2"/sources.list.d/*; do
    if [ -s "$file" ]; then found=1; else rm "$file"; fi
  done
  [ "$found" = 1 ] || fail "no source of Debian $own in /etc/apt/sources.list or /etc/apt/sources.list.d"
}

fetch() { # suite
  local apt="$PWD/.cache/apt-$1" binary line
  rm -rf "$apt"
  mkdir -p "$apt/sources.list.d" "$apt/lists/partial" "$apt/archives/partial"
  derive_sources "$1" "$apt"
  : >"$apt/status"
  # The hooks that are cleared would act on the system's own lists, not on these.
  cat >"$apt/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "$(id -un)";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources.list.d";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
CONF
  apt-get -c "$apt/apt.conf" -qq --error-on=any update ||
    fail "the package lists of Debian $1 could not be read or their signature is unknown;" \
      'a newer debian-archive-keyring (apt-get install debian-archive-keyring) knows the keys of newer suites'
  (cd "$apt" && apt-get -c apt.conf -qq download nats-server)
  dpkg -x "$apt"/nats-server_*.deb "$apt/unpacked"
  binary="$apt/unpacked/usr/sbin/nats-server"
  line="$(line_of "$binary")"
  keep "$binary" "$line"
  rm -rf "$apt"
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
