#!/usr/bin/env bash
# Installs what building and testing Tipring needs beyond Go, and nothing when nothing is missing.
#
#   install.sh build    what `make run` and `make build` need: a C compiler and the headers of libopus and libopusfile
#   install.sh test     that, and the real SIP programs and the browser that the tests call
#
# Debian and its relatives get packages by apt-get (as root, or by sudo). Elsewhere it says what to install and
# leaves the rest to you: the tests that miss a program say so.
set -euo pipefail

want="${1:-test}"
min_go="$(awk '$1 == "go" {print $2; exit}' "$(dirname "$0")/../../go.mod")"

# Without Go nothing works, and distributions carry old ones: that is the one thing not installed here.
if ! command -v go >/dev/null; then
  echo "setup: Go is missing. Install Go ${min_go} or newer from https://go.dev/dl/ and put it on PATH." >&2
  exit 1
fi

# Node builds what pages need. Distributions carry old ones too.
if ! command -v npm >/dev/null; then
  echo "setup: Node is missing. Install Node 20.19 or newer, with npm, from https://nodejs.org and put it on PATH." >&2
  exit 1
fi

missing=()
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_library() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }

need_command gcc gcc
[ -e /usr/include/stdlib.h ] || [ "$(uname)" != Linux ] || missing+=(libc6-dev)
need_command pkg-config pkg-config
need_library opus libopus-dev
need_library opusfile libopusfile-dev
if [ "$want" = test ]; then
  need_command sipp sip-tester
  need_command baresip baresip-core
  need_command chromium chromium
fi
[ "${#missing[@]}" -eq 0 ] && exit 0

echo "setup: missing: ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here. Please install by hand: ${missing[*]} (Debian's package names)" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    echo "setup: not root, and no sudo that works here. Please run: apt-get install ${missing[*]}" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 0
  fi
fi

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@"; }
echo "setup: apt-get update"
apt update >/dev/null || echo "setup: apt-get update failed; trying with the lists that are there" >&2
echo "setup: apt-get install ${missing[*]}"
if ! apt install -y --no-install-recommends "${missing[@]}" >/tmp/tipring-setup.$$.log 2>&1; then
  tail -20 "/tmp/tipring-setup.$$.log" >&2
  rm -f "/tmp/tipring-setup.$$.log"
  echo "setup: apt-get could not install ${missing[*]}" >&2
  exit 1
fi
rm -f "/tmp/tipring-setup.$$.log"
echo "setup: done"
