#!/usr/bin/env bash
# From a fresh Debian machine with Node.js 20 or later to the running demo. Usage, one of:
#   bash scripts/quickstart.sh         (as root)
#   sudo bash scripts/quickstart.sh    (as a user; npm then runs as that user, so that no file here belongs to root)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "quickstart: $1" >&2
  exit 1
}

# Runs a command as the user who called sudo, else as the present one.
as_user() {
  if [[ -n ${SUDO_USER:-} && $EUID -eq 0 ]]; then
    sudo --user="$SUDO_USER" --set-home env PATH="$PATH" "$@"
  else
    "$@"
  fi
}

# Debian installs nats-server here, where a user's PATH does not look.
users_path="$PATH"
PATH="$PATH:/usr/sbin"

command -v node >/dev/null || fail 'there is no Node.js. Install version 20.19 or later, then run this again.'
command -v npm >/dev/null || fail 'there is no npm. It comes with Node.js; on Debian, install the package npm too.'
node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' ||
  fail "Node.js $(node --version) is too old. Install version 20.19 or later, then run this again."

missing=()
command -v nats-server >/dev/null || missing+=(nats-server)
# tfx-cli, which packs the extension, asks it for the types of files.
command -v file >/dev/null || missing+=(file)
if [[ ${#missing[@]} -gt 0 ]]; then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}, and there is no apt-get to install it with: this script is for Debian. Install it, then run this again."
  [[ $EUID -eq 0 ]] || fail "missing: ${missing[*]}, which only root can install. Run: sudo bash scripts/quickstart.sh"
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

# npm writes this file once everything is installed.
if [[ node_modules/.package-lock.json -nt package-lock.json ]]; then
  echo 'The npm packages are installed already.'
else
  echo 'Installing npm packages, which takes a minute or two:'
  # Without warnings: that of a package that names a newer Node.js than it needs has frightened people.
  as_user npm ci --no-audit --no-fund --loglevel=error
fi
as_user npm run demo

# What sudo has as its path is root's.
if [[ -x /usr/sbin/nats-server ]] && { [[ -n ${SUDO_USER:-} ]] || ! PATH="$users_path" command -v nats-server >/dev/null; }; then
  echo
  # shellcheck disable=SC2016 # The reader's PATH is meant.
  echo 'nats-server is in /usr/sbin. To call it by its name: PATH="$PATH:/usr/sbin"'
fi
