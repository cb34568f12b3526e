//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/test/chaos/cluster"
	"github.com/engram-memory/engram/test/chaos/load"
)

const (
	project = "engram-chaos"
	shards  = 8
	// The images have names that nobody else's have, so none is replaced.
	engramImage, natsImage = "engram-chaos-engram", "engram-chaos-nats"
)

// Services of docker-compose.yml.
var (
	servers  = []string{"nats-1", "nats-2", "nats-3"}
	gateways = []string{"gateway-1", "gateway-2"}
	workers  = []string{"worker-1", "worker-2", "worker-3"}
	recalls  = []string{"recall-api-1", "recall-api-2"}
	daemons  = slices.Concat(gateways, workers, recalls)
	all      = slices.Concat(servers, daemons)
)

// Ports on this machine, away from those that an operator's own deployment has.
var ports = map[string]int{
	"NATS_1_PORT": 14222, "NATS_2_PORT": 14223, "NATS_3_PORT": 14224,
	"NATS_1_MONITOR_PORT": 18222, "NATS_2_MONITOR_PORT": 18223, "NATS_3_MONITOR_PORT": 18224,
	"GATEWAY_1_PORT": 18080, "GATEWAY_2_PORT": 18081, "RECALL_1_PORT": 18090, "RECALL_2_PORT": 18091,
}

// deployment is docker-compose.yml, started from images of this tree.
type deployment struct {
	*cluster.Cluster
	dir      string // secrets, disks and ledgers
	env      []string
	ending   []func(context.Context) error // what end does, in reverse
	clients  []*client.Client
	operator *nats.Conn // may do everything in the account of Engram
}

func newDeployment(dir string) *deployment {
	d := &deployment{Cluster: cluster.Open(project), dir: dir}
	d.env = append(os.Environ(), "CHAOS_DIR="+dir, "ENGRAM_SECRETS="+filepath.Join(dir, "secrets"),
		"ENGRAM_IMAGE="+engramImage, "NATS_IMAGE="+natsImage, "HEALTH_INTERVAL=2s", fmt.Sprintf("ENGRAM_SHARDS=%d", shards))
	for name, port := range ports {
		d.env = append(d.env, fmt.Sprintf("%s=%d", name, port))
	}
	return d
}

// deploy builds the images, makes secrets and disks, starts the containers and waits until they are healthy.
func deploy(ctx context.Context) (d *deployment, err error) {
	if err := cluster.Possible(ctx); err != nil {
		return nil, fmt.Errorf("these tests break containers, which is not possible here: %w", err)
	}
	if *reuse != "" {
		d := newDeployment(*reuse)
		if err := d.Healthy(ctx, time.Minute, all...); err != nil {
			return nil, err
		}
		return d, d.connect()
	}
	dir, err := os.MkdirTemp("", "engram-chaos-")
	if err != nil {
		return nil, err
	}
	d = newDeployment(dir)
	d.defers(func(context.Context) error { return os.RemoveAll(dir) })
	defer func() {
		if err != nil {
			err = errors.Join(err, d.end(context.WithoutCancel(ctx)))
		}
	}()
	if err := d.script(ctx, nil, "deployments/docker/local.sh"); err != nil {
		return d, err
	}
	d.defers(func(ctx context.Context) error {
		return d.command(ctx, "docker", "image", "rm", engramImage, natsImage)
	})
	if err := d.script(ctx, nil, "deployments/docker/secrets.sh"); err != nil {
		return d, err
	}
	if err := d.accounts(); err != nil {
		return d, err
	}
	for _, name := range []string{"nats-3", "worker-3"} {
		if err := d.disk(ctx, name, "2G"); err != nil {
			return d, err
		}
	}
	// What an earlier run left behind would be taken for this one's.
	if err := d.compose(ctx, nil, "down", "--volumes", "--timeout", "1"); err != nil {
		return d, err
	}
	d.defers(func(ctx context.Context) error { return d.compose(ctx, nil, "down", "--volumes", "--timeout", "1") })
	if err := d.compose(ctx, nil, "up", "--detach", "--no-build"); err != nil {
		return d, err
	}
	if err := d.Healthy(ctx, 2*time.Minute, all...); err != nil {
		var logs strings.Builder
		for _, name := range all {
			fmt.Fprintf(&logs, "\n%s:\n%s", name, d.Logs(ctx, name, 8))
		}
		return d, fmt.Errorf("%w%s", err, logs.String())
	}
	return d, d.connect()
}

func (d *deployment) defers(f func(context.Context) error) { d.ending = append(d.ending, f) }

// end undoes what deploy did.
func (d *deployment) end(ctx context.Context) (err error) {
	for _, f := range slices.Backward(d.ending) {
		err = errors.Join(err, f(ctx))
	}
	return err
}

// script runs a program of the repository, from its top, with more of an environment.
func (d *deployment) script(ctx context.Context, env []string, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, "./"+path, args...)
	cmd.Dir, cmd.Env = *root, append(slices.Clone(d.env), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", path, strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *deployment) compose(ctx context.Context, env []string, args ...string) error {
	override, err := filepath.Abs("override.yml")
	if err != nil {
		return err
	}
	return d.script(ctx, env, "deployments/docker/compose.sh", append([]string{"-p", project, "-f", "docker-compose.yml", "-f", override}, args...)...)
}

// accounts gives the account of Engram one more user, who may do everything in it.
func (d *deployment) accounts() error {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(*root, "deployments/nats/accounts.conf"))
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), "users: [\n", "users: [\n      { nkey: "+public+" }\n", 1)
	if changed == string(text) {
		return errors.New("deployments/nats/accounts.conf has no place for one more user")
	}
	// Other users read both, that of the containers and this one.
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(d.dir, "accounts.conf"), []byte(changed), 0o644),
		os.WriteFile(filepath.Join(d.dir, "operator.nk"), seed, 0o600))
}

// command runs a command of this machine.
func (d *deployment) command(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// disk makes a small file system for a volume.
func (d *deployment) disk(ctx context.Context, name, size string) error {
	at, image := filepath.Join(d.dir, name), filepath.Join(d.dir, name+".img")
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"truncate", "--size", size, image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, at}, {"chown", "10001:10001", at},
	} {
		if err := d.command(ctx, args...); err != nil {
			return err
		}
		if args[0] == "mount" {
			d.defers(func(ctx context.Context) error { return d.command(ctx, "umount", at) })
		}
	}
	return nil
}

// connect opens the connections of clients, each to another server first.
func (d *deployment) connect() error {
	for i := range 6 {
		nc, err := d.dial(filepath.Join(d.dir, "secrets", "admin.nk"), i, nats.CustomInboxPrefix("_INBOX_admin"))
		if err != nil {
			return err
		}
		d.clients = append(d.clients, client.New(nc))
		d.defers(func(context.Context) error { nc.Close(); return nil })
	}
	nc, err := d.dial(filepath.Join(d.dir, "operator.nk"), 0)
	if err != nil {
		return err
	}
	d.operator = nc
	d.defers(func(context.Context) error { nc.Close(); return nil })
	return nil
}

// dial connects as a client that notices a dead server within seconds.
func (d *deployment) dial(seed string, first int, options ...nats.Option) (*nats.Conn, error) {
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		return nil, err
	}
	var urls []string
	for i := range servers {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[fmt.Sprintf("NATS_%d_PORT", 1+(first+i)%len(servers))]))
	}
	return nats.Connect(strings.Join(urls, ","), append(options, key, nats.DontRandomize(), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond), nats.Timeout(time.Second), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(true))...)
}

// endpoints are what clients are given.
func (d *deployment) endpoints() (load.Endpoints, error) {
	token, err := os.ReadFile(filepath.Join(d.dir, "secrets", "admin.token"))
	if err != nil {
		return load.Endpoints{}, err
	}
	address := func(variable string) string { return fmt.Sprintf("http://127.0.0.1:%d", ports[variable]) }
	return load.Endpoints{
		NATS: d.clients, Token: strings.TrimSpace(string(token)),
		Gateways: []string{address("GATEWAY_1_PORT"), address("GATEWAY_2_PORT")},
		Recalls:  []string{address("RECALL_1_PORT"), address("RECALL_2_PORT")},
	}, nil
}
