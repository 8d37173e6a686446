# What scripts/start and scripts/test share: packages by name from Debian and npm, Node 24, the repository's own folder.
# Sourced by bash; needs root or sudo on a Debian machine.

set -euo pipefail
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$REPO/node_modules/.bin:$PATH"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" || { echo "this step needs root: $*" >&2; exit 1; }; fi
}

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# install_packages NAME…: those that are missing, from Debian.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing from Debian: ${missing[*]}"
  as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

# install_node: the packages of package-lock.json, Node 24 among them.
install_node() {
  if ! command -v npm > /dev/null || ! command -v node > /dev/null; then install_packages nodejs npm ca-certificates; fi
  local stamp="$REPO/node_modules/.installed" want
  want=$(sha256sum "$REPO/package-lock.json" | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null || true)" = "$want" ] && return 0
  say "installing the npm packages of package-lock.json"
  local attempt
  for attempt in 1 2 3; do
    if (cd "$REPO" && npm ci --no-audit --no-fund --loglevel=error) && packages_work 2> /dev/null; then
      echo "$want" > "$stamp"
      return 0
    fi
    say "attempt $attempt: not every package came; npm passes over optional ones that it could not fetch"
  done
  echo "the npm packages of package-lock.json are not complete after three attempts; see the messages above" >&2
  exit 1
}

# packages_work: Node 24 is there, and so are the native parts, which npm installs as optional packages.
packages_work() {
  "$REPO/node_modules/.bin/node" -e 'if (+process.versions.node.split(".")[0] < 24) process.exit(1)' &&
    (cd "$REPO" && node_modules/.bin/node -e 'for (const name of ["lz4-napi", "sodium-native", "@napi-rs/lzma"]) require(name)') &&
    "$REPO/node_modules/.bin/tsc" --version > /dev/null && "$REPO/node_modules/.bin/oxlint" --version > /dev/null &&
    "$REPO/node_modules/.bin/oxfmt" --version > /dev/null
}
