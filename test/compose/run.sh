#!/usr/bin/env bash
# Builds the images of docker-compose.yml without pulling any, starts it as a project of its own beside whatever else runs, with secrets of
# its own and ports that Docker chooses, runs the tests of this directory on it, and removes all of it.
#
# It needs Docker Engine and Docker Compose.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
compose=deployments/docker/compose.sh

scratch=$(mktemp -d)
export COMPOSE_PROJECT_NAME=engram-test-$$ ENGRAM_SECRETS=$scratch/secrets
# The images have names that nobody else's have, so none is replaced.
export ENGRAM_IMAGE=engram-test-engram:$$ NATS_IMAGE=engram-test-nats:$$
export HEALTH_INTERVAL=3s
for port in NATS_{1,2,3}_PORT NATS_{1,2,3}_MONITOR_PORT GATEWAY_{1,2}_PORT RECALL_{1,2}_PORT; do
  export "$port=0"
done

cleanup() {
  local status=$?
  trap - EXIT
  if ((status != 0)) && [[ -e $ENGRAM_SECRETS/nats.env ]]; then
    "$compose" ps --all || true
    "$compose" logs --no-color --tail 30 || true
  fi
  if [[ -e $ENGRAM_SECRETS/nats.env ]]; then
    "$compose" down --volumes --timeout 60 || status=1
  fi
  for image in "$ENGRAM_IMAGE" "$NATS_IMAGE"; do
    if docker image inspect "$image" >/dev/null 2>&1; then
      docker image rm "$image" >/dev/null || status=1
    fi
  done
  rm -rf "$scratch"
  exit "$status"
}
trap cleanup EXIT

deployments/docker/local.sh
deployments/docker/secrets.sh
"$compose" up --detach --no-build
go test -tags compose -count 1 -v -timeout 10m ./test/compose
