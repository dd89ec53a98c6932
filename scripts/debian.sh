# Sourced by the scripts that bring programs of Debian. Needs Debian with apt-get and dpkg; root is not needed.
# The including script defines fail, and stands in the root of the tree.

# Writes this machine's own Debian sources, turned to another suite, into a private apt folder.
# Mirror, components and signing keys stay as they are; update and security suites are left out.
derive_sources() { # suite, folder
  local own="$VERSION_CODENAME" file name found=0
  shopt -s nullglob
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    # First, as apt reads it: the same source without Signed-By, read after one that has it, is a conflict.
    name="$(basename "$file")"
    [ "$file" != /etc/apt/sources.list ] || name=00sources.list
    sed -nE "s/^(deb[[:space:]]+(\[[^]]*\][[:space:]]+)?[^[:space:]]+[[:space:]]+)$own([[:space:]].*)/\1$1\3/p" "$file" \
      >"$2/sources.list.d/$name"
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

# Gets signed packages of a suite from the mirror this machine already uses, without what they depend on, and unpacks them.
unpack_from_debian() { # suite, folder, packages
  local suite="$1" folder="$2" apt="$PWD/.cache/apt-$1" package said
  shift 2
  # shellcheck source=/dev/null
  . /etc/os-release
  rm -rf "$apt"
  mkdir -p "$apt/sources.list.d" "$apt/lists/partial" "$apt/archives/partial" "$folder"
  derive_sources "$suite" "$apt"
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
  if ! said="$(LC_ALL=C apt-get -c "$apt/apt.conf" -qq --error-on=any update 2>&1)"; then
    echo "$said" >&2
    case "$said" in
      *NO_PUBKEY* | *'Missing key'*)
        fail "the signature of Debian $suite is unknown here;" \
          'a newer debian-archive-keyring (apt-get install debian-archive-keyring) knows the keys of newer suites'
        ;;
    esac
    fail "the package lists of Debian $suite could not be read: $(grep -m 1 '^E:' <<<"$said" || echo 'apt-get update failed')"
  fi
  # Where this machine lists Debian twice, apt warns of each package list. Only a failure is worth showing.
  if ! said="$(cd "$apt" && LC_ALL=C apt-get -c apt.conf -qq download "$@" 2>&1)"; then
    echo "$said" >&2
    fail "the packages $* of Debian $suite could not be fetched: $(grep -m 1 '^E:' <<<"$said" || echo 'apt-get download failed')"
  fi
  for package in "$apt"/*.deb; do dpkg -x "$package" "$folder"; done
  rm -rf "$apt"
}
