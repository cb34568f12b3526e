#!/usr/bin/env bash
# Builds the images that docker-compose.yml names on a host that can pull none: static Go programs, built here, and nothing else.
#
#   deployments/docker/local.sh [prometheus]
#
# makes Engram's image and that of NATS; with the argument that of Prometheus, too, whose build takes 6 minutes of CPU the first
# time. It needs Go, git, Docker Engine and a Go module proxy. Grafana and the exporter cannot be built from their modules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CGO_ENABLED=0 GOWORK=off

# build DIRECTORY ARGUMENT…: go build in the module that is there.
build() { go build -C "$1" -buildvcs=false -ldflags '-s -w' "${@:2}"; }

# default VARIABLE: its value, or the default that docker-compose.yml has for it, so that the names are there alone.
default() {
  local value=${!1:-}
  [[ -n $value ]] || value=$(sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" docker-compose.yml | head -n 1)
  [[ -n $value ]] || { echo "docker-compose.yml has no default for $1." >&2; return 1; }
  printf %s "$value"
}

# image NAME: builds the context in $scratch/context. BuildKit would ask for a plugin that such a host may lack.
image() {
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$1" "${@:2}" "$scratch/context" 2>"$scratch/log" >"$scratch/id" ||
    { cat "$scratch/log" >&2; return 1; }
  printf '%s: %s bytes\n' "$1" "$(docker image inspect --format '{{.Size}}' "$1")"
  rm -rf "$scratch/context"
}

context() {
  rm -rf "$scratch/context"
  mkdir -p "$scratch/context/image/usr/bin" "$scratch/context/image/etc/ssl/certs" "$scratch/context/empty"
}

engram_image() {
  context
  build . -o "$scratch/context/image/usr/bin/" ./cmd/...
  [[ ! -e /etc/ssl/certs/ca-certificates.crt ]] || cp /etc/ssl/certs/ca-certificates.crt "$scratch/context/image/etc/ssl/certs/"
  # The last stage of the Dockerfile, whose files come from here and not from the stage before.
  sed -n '/^FROM scratch/,$p' deployments/docker/Dockerfile | sed 's/--from=build //' >"$scratch/context/Dockerfile"
  image "$(default ENGRAM_IMAGE)" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
}

# wget of the health checks, which the published images have.
wget_program() { build tools/wget -o "$scratch/context/image/usr/bin/wget" .; }

nats_image() {
  context
  build tools/nats-server -o "$scratch/context/image/usr/bin/nats-server" tool
  wget_program
  printf 'FROM scratch\nCOPY image/ /\n' >"$scratch/context/Dockerfile"
  image "$(default NATS_IMAGE)"
}

# Without the pages of its web interface, which are no Go, and the discovery of clouds, which would take half of the build.
prometheus_image() {
  context
  build tools/prometheus -tags netgo,remove_all_sd -o "$scratch/context/image/usr/bin/prometheus" tool
  wget_program
  printf 'FROM scratch\nCOPY image/ /\nCOPY --chown=65534:65534 empty/ /prometheus/\nUSER 65534:65534\n' >"$scratch/context/Dockerfile"
  image "$(default PROMETHEUS_IMAGE)"
}

engram_image
nats_image
for more in "$@"; do
  case $more in
    prometheus) prometheus_image ;;
    *) echo "There is no local image of $more; prometheus is the one that can be built beside those of Engram and NATS." >&2; exit 2 ;;
  esac
done
