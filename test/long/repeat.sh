#!/usr/bin/env bash
# repeat.sh SECONDS COMMAND…: runs the command again and again until that time has passed, at least once, and stops at the
# first failure.
set -euo pipefail
for_seconds=${1:?"usage: repeat.sh SECONDS COMMAND…"}
shift
runs=0
while ((runs == 0 || SECONDS < for_seconds)); do
  "$@"
  runs=$((runs + 1))
  printf 'run %d is done after %d s\n' "$runs" "$SECONDS"
done
