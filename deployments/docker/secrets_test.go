package docker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/auth"
)

// makeSecrets runs secrets.sh with the engram command of this source, twice: the second time it must change nothing.
func makeSecrets(t *testing.T) (dir string, files map[string]string) {
	t.Helper()
	engram := filepath.Join(t.TempDir(), "engram")
	dir = filepath.Join(t.TempDir(), "secrets")
	run := func(env []string, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	contents := func() map[string]string {
		t.Helper()
		found := map[string]string{}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found[e.Name()] = string(b)
		}
		return found
	}
	run(nil, "go", "build", "-o", engram, "../../cmd/engram")
	run([]string{"ENGRAM=" + engram}, "./secrets.sh", dir)
	files = contents()
	run([]string{"ENGRAM=" + engram}, "./secrets.sh", dir)
	for name, text := range contents() {
		if text != files[name] {
			t.Errorf("the second run has changed %s", name)
		}
	}
	return dir, files
}

// What secrets.sh makes is what docker-compose.yml mounts, and what NATS and the daemons read.
func TestSecrets(t *testing.T) {
	dir, files := makeSecrets(t)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v; the files in it can be read by everybody who gets there", info.Mode(), err)
	}
	for name, s := range load(t).Secrets {
		info, err := os.Stat(filepath.Join(dir, filepath.Base(s.File)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.Mode().Perm()&0o004 == 0 || info.Size() == 0 {
			t.Errorf("the user of a container cannot read %s: %v, %d bytes", name, info.Mode(), info.Size())
		}
	}

	a, err := auth.New(auth.Config{File: filepath.Join(dir, "principals")}, zerolog.New(zerolog.NewTestWriter(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"admin", "metrics"} {
		hash := auth.Hash(strings.TrimSpace(files[token+".token"]))
		if !strings.Contains(files["principals"], token+" token="+hash) {
			t.Errorf("the token of %s is not in the file of principals", token)
		}
	}
	clusterConfiguration(t, dir, files)
}

// clusterConfiguration has a server read cluster.conf where a container has it.
func clusterConfiguration(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	container := t.TempDir()
	etc, run := filepath.Join(container, "etc", "nats"), filepath.Join(container, "run", "secrets")
	for _, d := range []string{etc, run} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{
		"../nats/cluster.conf": filepath.Join(etc, "cluster.conf"), "../nats/accounts.conf": filepath.Join(etc, "accounts.conf"),
		filepath.Join(dir, "routes.conf"): filepath.Join(run, "nats_routes"),
	} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environment := load(t).Services["nats-2"].Environment
	for _, line := range strings.Fields(files["nats.env"]) {
		key, value, _ := strings.Cut(line, "=")
		environment[key] = &value
	}
	for key, value := range environment {
		t.Setenv(key, *value)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(etc, "cluster.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if opts.ServerName != "nats-2" || !opts.SyncAlways || opts.StoreDir != "/data" || opts.JetStreamMaxStore <= 0 || opts.PingInterval > 10*time.Second || opts.MaxPingsOut > 2 {
		t.Errorf("the server is %q, syncs always %v, keeps up to %d bytes in %s, and pings every %v, %d times",
			opts.ServerName, opts.SyncAlways, opts.JetStreamMaxStore, opts.StoreDir, opts.PingInterval, opts.MaxPingsOut)
	}
	c := opts.Cluster
	if len(opts.Routes) != 3 || c.Name != "engram" || len(c.Password) < 40 || !c.NoAdvertise || c.PingInterval > 5*time.Second {
		t.Errorf("the cluster %q has %d routes, a password of %d characters, advertises %v, and pings every %v",
			c.Name, len(opts.Routes), len(c.Password), !c.NoAdvertise, c.PingInterval)
	}
	for _, r := range opts.Routes {
		if password, _ := r.User.Password(); r.User.Username() != c.Username || password != c.Password {
			t.Errorf("the route to %s has another login than the cluster", r.Host)
		}
	}
	if len(opts.Nkeys) != 6 {
		t.Errorf("%d users have a key", len(opts.Nkeys))
	}
}
