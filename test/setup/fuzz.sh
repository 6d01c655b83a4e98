#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other: fuzz.sh <time for each>
set -uo pipefail
cd "$(dirname "$0")/../.."
each="${1:-20s}"
status=0
for pkg in $(go list ./...); do
  for target in $(go test -list '^Fuzz' "$pkg" 2>/dev/null | grep '^Fuzz'); do
    echo "== $pkg $target"
    go test -run '^$' -fuzz "^${target}\$" -fuzztime "$each" "$pkg" || status=1
  done
done
exit "$status"
