//go:build compose

package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
)

// patience bounds the wait for something that a running deployment does by itself.
const patience = 2 * time.Minute

// services are those that run without a profile, by what they run.
func services() map[string][]string {
	return map[string][]string{
		"nats": {"nats-1", "nats-2", "nats-3"}, "ingest-gateway": {"gateway-1", "gateway-2"},
		"space-worker": {"worker-1", "worker-2", "worker-3"}, "recall-api": {"recall-api-1", "recall-api-2"},
	}
}

// container is what docker inspect says of one.
type container struct {
	ID    string `json:"Id"`
	State struct {
		Status   string
		ExitCode int
		Health   *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	RestartCount    int
	NetworkSettings struct {
		Ports map[string][]struct{ HostIP, HostPort string } `json:"Ports"`
	}
	Config struct {
		User   string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs   bool
		Memory, NanoCpus int64
		PidsLimit        int64
		CapDrop          []string
		SecurityOpt      []string
	}
}

func (c container) service() string { return c.Config.Labels["com.docker.compose.service"] }

// command runs a program at the top of the repository and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stderr = root(), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func root() string { return filepath.Join("..", "..") }

// compose is Docker Compose on the project that runs. COMPOSE_PROJECT_NAME and the variables of docker-compose.yml are those it was
// started with.
func compose(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "deployments/docker/compose.sh", args...)
}

// containers returns those of the project by their services.
func containers(t *testing.T) deployment {
	t.Helper()
	ids := strings.Fields(compose(t, "ps", "--all", "--quiet"))
	if len(ids) == 0 {
		t.Fatal("no container of the project is there: run task compose:local")
	}
	var all []container
	if err := json.Unmarshal([]byte(command(t, "docker", append([]string{"inspect"}, ids...)...)), &all); err != nil {
		t.Fatal(err)
	}
	found := deployment{}
	for _, c := range all {
		found[c.service()] = c
	}
	return found
}

// eventually waits until cond has nothing to object to any more, and fails the test with its last objection.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(200*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %v", patience, err)
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}

// healthy waits until every container is, and returns them.
func healthy(t *testing.T) (all deployment) {
	t.Helper()
	eventually(t, func() error {
		all = containers(t)
		var errs []error
		for _, names := range services() {
			for _, name := range names {
				c, there := all[name]
				if !there || c.State.Health == nil || c.State.Health.Status != "healthy" {
					errs = append(errs, unhealthy(name, c))
				}
			}
		}
		return errors.Join(errs...)
	})
	return all
}

func unhealthy(name string, c container) error {
	if c.State.Health == nil {
		return fmt.Errorf("%s is %q and has no health", name, c.State.Status)
	}
	last := "nothing"
	if n := len(c.State.Health.Log); n > 0 {
		last = strings.TrimSpace(c.State.Health.Log[n-1].Output)
	}
	return fmt.Errorf("%s is %s and %s, and its last check said %s", name, c.State.Status, c.State.Health.Status, last)
}

// deployment is the project that runs, as it was when all of it was healthy.
type deployment map[string]container

// published returns the address that a port of a service has on this machine.
func (d deployment) published(t *testing.T, service, port string) string {
	t.Helper()
	for _, p := range d[service].NetworkSettings.Ports[port+"/tcp"] {
		return net.JoinHostPort(p.HostIP, p.HostPort)
	}
	t.Fatalf("the port %s of %s is not published", port, service)
	return ""
}

// secret returns the path of one.
func secret(name string) string {
	dir := os.Getenv("ENGRAM_SECRETS")
	switch {
	case dir == "":
		dir = filepath.Join(root(), "deployments", "docker", "secrets")
	case !filepath.IsAbs(dir):
		dir = filepath.Join(root(), dir)
	}
	return filepath.Join(dir, name)
}

// login connects to one of the servers as a user of accounts.conf.
func (d deployment) login(t *testing.T, server, user string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(bus.Config{
		URL: "nats://" + d.published(t, server, "4222"), NKey: secret(user + ".nk"), InboxPrefix: "_INBOX_" + user, Name: "compose-test", FailFast: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Every container is healthy, and has no more rights and no more of the machine than the file gives it.
func (d deployment) containers(t *testing.T) {
	for _, names := range services() {
		for _, name := range names {
			c := d[name]
			if c.RestartCount != 0 {
				t.Errorf("%s was restarted %d times", name, c.RestartCount)
			}
			h := c.HostConfig
			if user, _, _ := strings.Cut(c.Config.User, ":"); user == "" || user == "0" || user == "root" {
				t.Errorf("%s runs as %q", name, c.Config.User)
			}
			if !h.ReadonlyRootfs || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Contains(h.SecurityOpt, "no-new-privileges:true") {
				t.Errorf("%s: read-only %v, without the capabilities %q, options %q", name, h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt)
			}
			if h.Memory <= 0 || h.NanoCpus <= 0 || h.PidsLimit <= 0 {
				t.Errorf("%s may have %d bytes of memory, %d billionths of a processor and %d processes; 0 is no limit", name, h.Memory, h.NanoCpus, h.PidsLimit)
			}
		}
	}
	if c := d["nats-volumes"]; c.State.Status != "exited" || c.State.ExitCode != 0 {
		t.Errorf("nats-volumes is %s with exit code %d", c.State.Status, c.State.ExitCode)
	}
}
