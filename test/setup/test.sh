#!/usr/bin/env bash
# Runs the tests and sums up: first the packages of the product, then test/ (which starts the real program and real
# SIP programs) one package after the other, so that nothing competes with them for the processor.
#
#   test.sh [go test flags and packages]    without packages: everything
set -uo pipefail
cd "$(dirname "$0")/../.."

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
timeout="${TEST_TIMEOUT:-15m}"
start=$SECONDS
status=0

run() { # name, then arguments of go test
  local name="$1"
  shift
  echo "== $name"
  go test -race -shuffle=on -timeout "$timeout" "$@" 2>&1 | tee -a "$log" || status=1
}

if [ "$#" -gt 0 ]; then
  run "go test $*" "$@"
else
  product="$(go list ./... | grep -v '/tipring/test\(/\|$\)')" || { echo "go list failed" >&2; exit 1; }
  echo "== SDK and console"
  (cd web && npm test --silent 2>&1) | tee -a "$log" || status=1
  # shellcheck disable=SC2086
  run "product" $product
  run "stories, interop, house rules (test/)" -p 1 ./test/...
fi

ok=$(grep -c '^ok ' "$log")
failed=$(grep -c '^FAIL[[:space:]]\+[^[:space:]]' "$log")
tests=$(grep -c '^\s*--- FAIL' "$log")
echo
echo "== ${ok} packages passed, ${failed} failed, $((SECONDS - start)) s"
if [ "$status" -ne 0 ]; then
  grep '^FAIL[[:space:]]\+[^[:space:]]' "$log" | sort -u
  [ "$tests" -gt 0 ] && grep '^\s*--- FAIL' "$log"
fi
exit "$status"
