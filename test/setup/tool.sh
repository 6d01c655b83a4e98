#!/usr/bin/env bash
# Builds a tool of a pinned version into a file of this tree: tool.sh <import path> <version> <file>. It needs the Go
# proxy only; the first time takes minutes, later ones nothing.
set -euo pipefail
path="$1" version="$2" file="$3"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
echo "setup: building ${path##*/} ${version} (once)"
GOBIN="$dir" GOFLAGS= go install "${path}@${version}"
mkdir -p "$(dirname "$file")"
mv "$dir/${path##*/}" "$file"
