#!/usr/bin/env bash
# fuzz.sh TIME [REGEXP]: runs each fuzz target of the repository whose "package target" matches for TIME, such as 30s,
# one after the other, and ends with those that failed. fuzz.sh list [REGEXP] prints them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# targets prints "package target" for each of them. They are found by name, since asking each test binary would build all.
targets() {
  local module file target
  module=$(go list -m)
  git grep -Eo '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sort -u | while IFS=: read -r file target; do
    printf '%s/%s %s\n' "$module" "$(dirname "$file")" "${target#func }"
  done | grep -E -- "${1:-}" || true
}

time=${1:?"usage: fuzz.sh TIME|list [REGEXP]"}
if [[ $time == list ]]; then
  targets "${2:-}"
  exit
fi
found=$(targets "${2:-}")
if [[ -z $found ]]; then
  printf 'no fuzz target matches %q\n' "${2:-}" >&2
  exit 1
fi
failed=()
while read -r package target; do
  printf '==> %s %s\n' "$package" "$target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null || failed+=("$package $target")
done <<<"$found"
if ((${#failed[@]} > 0)); then
  printf 'FAILED:\n'
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
