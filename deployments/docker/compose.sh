#!/bin/sh
# Runs Docker Compose on docker-compose.yml, as the plugin of docker or as the program of its own, whichever is there.
set -eu
cd "$(dirname "$0")/../.."
if docker compose version >/dev/null 2>&1; then
  exec docker compose "$@"
fi
if command -v docker-compose >/dev/null 2>&1; then
  exec docker-compose "$@"
fi
echo "There is neither \"docker compose\" nor docker-compose; install one of them (Debian: apt-get install docker-compose)." >&2
exit 1
