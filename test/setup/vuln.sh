#!/usr/bin/env bash
# govulncheck, except that a database that cannot be reached is said and is no failure: vuln.sh <govulncheck>
set -uo pipefail
cd "$(dirname "$0")/../.."
out="$("$1" ./... 2>&1)"
status=$?
printf '%s\n' "$out"
if [ "$status" -ne 0 ] && grep -qE 'fetching vulnerabilities|vuln\.go\.dev.*(dial|lookup|timeout|Forbidden|proxy|EOF|refused|40[0-9]|50[0-9])' <<<"$out"; then
  echo "govulncheck: the vulnerability database could not be reached: NOTHING WAS CHECKED"
  exit 0
fi
exit "$status"
