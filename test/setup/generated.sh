#!/usr/bin/env bash
# Fails if `go generate` would change anything. It generates in a copy, so that the tree stays as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/was"
git ls-files -z -co --exclude-standard |
  while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
  tar --null -T - -cf - | tar -C "$dir/was" -xf -
cp -a "$dir/was" "$dir/is"
(cd "$dir/is" && go generate ./...)
if ! diff -r "$dir/was" "$dir/is"; then
  echo "generated code is out of date: run make generate"
  exit 1
fi
