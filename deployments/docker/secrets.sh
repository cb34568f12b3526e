#!/bin/sh
# Makes what docker-compose.yml needs to be secret, each thing once: what is there stays as it is.
#
#   deployments/docker/secrets.sh [DIRECTORY]
#
# DIRECTORY is deployments/docker/secrets unless ENGRAM_SECRETS or the argument names another one. It needs the engram command,
# or Docker with its image: ENGRAM names the command, ENGRAM_IMAGE the image.
#
#   gateway.nk worker.nk recall.nk admin.nk producer.nk service.nk    seeds of the users of NATS (deployments/nats/accounts.conf)
#   nats.env           their public halves, which are no secret
#   routes.conf        the password of the cluster's routes, and the routes
#   principals         who may use HTTP and gRPC; add lines with "engram token new --file"
#   admin.token        a token with all roles in all spaces
#   metrics.token      a token for Prometheus
#   grafana.password   of Grafana's user admin
#
# The directory is closed to others. The files in it can be read by everybody who gets to them, since a container gets a file
# with the owner that it has here, and its user has another number.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${ENGRAM_SECRETS:-$here/secrets}}
mkdir -p "$dir"
chmod 700 "$dir"
dir=$(cd "$dir" && pwd)

# engram ARGUMENT…: the command, in the directory of the secrets.
if [ -n "${ENGRAM:-}" ]; then
  case $ENGRAM in */*) ENGRAM=$(cd "$(dirname "$ENGRAM")" && pwd)/$(basename "$ENGRAM") ;; esac
  engram() { (cd "$dir" && "$ENGRAM" "$@"); }
elif command -v engram >/dev/null 2>&1; then
  engram() { (cd "$dir" && command engram "$@"); }
else
  image=${ENGRAM_IMAGE:-engram:0.1.0}
  engram() {
    docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$dir:/secrets" --workdir /secrets \
      --entrypoint /usr/bin/engram "$image" "$@"
  }
fi

random() { od -An -N 24 -t x1 /dev/urandom | tr -d ' \n'; }

# keep FILE: makes a file of what comes in, whole or not at all.
keep() { cat >"$1.new" && chmod 444 "$1.new" && mv "$1.new" "$1"; }

cd "$dir"
if [ ! -e nats.env ]; then
  rm -f ./*.nk # of a run that was broken off: without nats.env nobody knows them
  for user in gateway worker recall admin producer service; do
    public=$(engram token nkey --out "$user.nk")
    printf 'NATS_NKEY_%s=%s\n' "$(printf %s "$user" | tr a-z A-Z)" "$public"
  done >nats.env.new
  chmod 444 ./*.nk
  mv nats.env.new nats.env
fi
if [ ! -e routes.conf ]; then
  password=$(random)
  {
    printf 'NATS_ROUTE_PASSWORD: "%s"\n' "$password"
    printf 'NATS_ROUTES: [\n'
    for server in nats-1 nats-2 nats-3; do printf '  "nats-route://route:%s@%s:6222"\n' "$password" "$server"; done
    printf ']\n'
  } | keep routes.conf
fi
# A token is shown once, so its file and its line of principals are made together.
if [ ! -e admin.token ]; then
  token=$(engram token new admin --observe '*' --recall '*' --forget '*' --admin '*' --metrics --file principals)
  printf '%s\n' "$token" | keep admin.token
fi
if [ ! -e metrics.token ]; then
  token=$(engram token new metrics --metrics --file principals)
  printf '%s\n' "$token" | keep metrics.token
fi
chmod 644 principals
[ -e grafana.password ] || random | keep grafana.password
printf 'The secrets are in %s.\n' "$dir"
