// Package docker_test holds docker-compose.yml to what it promises, without Docker.
package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/engram-memory/engram/pkg/config"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/version"
)

// project is what the tests read of docker-compose.yml.
type project struct {
	Services map[string]*service
	Secrets  map[string]struct{ File string }
	Volumes  map[string]any
	Networks map[string]any
}

type service struct {
	Image         string
	Command       []string
	ContainerName string `yaml:"container_name"`
	Hostname      string
	Restart       string
	ReadOnly      bool `yaml:"read_only"`
	Privileged    bool
	User          string
	CapDrop       []string `yaml:"cap_drop"`
	CapAdd        []string `yaml:"cap_add"`
	SecurityOpt   []string `yaml:"security_opt"`
	MemLimit      string   `yaml:"mem_limit"`
	CPUs          string   `yaml:"cpus"`
	PIDsLimit     int      `yaml:"pids_limit"`
	StopGrace     string   `yaml:"stop_grace_period"`
	Environment   map[string]*string
	Secrets       []string
	Ports         []string
	Volumes       []string
	Profiles      []string
	Healthcheck   struct{ Test []string }
	Logging       struct{ Options map[string]string }
}

func root(elem ...string) string { return filepath.Join(append([]string{"..", ".."}, elem...)...) }

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(root(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var variable = regexp.MustCompile(`\$\{([A-Z0-9_]+):-([^}]*)\}`)

// load reads the file with the defaults of its variables.
func load(t *testing.T) project {
	t.Helper()
	var p project
	if err := yaml.UnmarshalWithOptions([]byte(variable.ReplaceAllString(read(t, "docker-compose.yml"), "$2")), &p, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	if len(p.Services) < 11 {
		t.Fatalf("the file has the services %v", p.Services)
	}
	return p
}

// Every container has as few rights as it can do with, and bounds.
func TestEveryServiceIsConfined(t *testing.T) {
	for name, s := range load(t).Services {
		if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
			t.Errorf("%s runs as %q", name, s.User)
		}
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s can do more than it needs", name)
		}
		if s.PIDsLimit == 0 || s.Logging.Options["max-size"] == "" {
			t.Errorf("%s has no bound of processes, or of its log", name)
		}
		if s.ContainerName != "" || s.Hostname != "" {
			t.Errorf("%s has a name that a second project would have, too", name)
		}
		if name == "nats-volumes" { // which ends at once
			continue
		}
		if s.MemLimit == "" || s.CPUs == "" || s.Restart != "unless-stopped" {
			t.Errorf("%s has %q of memory, %q processors, and is started again %q", name, s.MemLimit, s.CPUs, s.Restart)
		}
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s is checked by %q, which there is no shell for", name, s.Healthcheck.Test)
		}
	}
}

// What is secret is a file, and all files are those that secrets.sh makes.
func TestNothingSecretInTheFile(t *testing.T) {
	p := load(t)
	for name, s := range p.Services {
		for key, value := range s.Environment {
			if !regexp.MustCompile(`KEY|PASSWORD|TOKEN|SECRET`).MatchString(key) || value == nil { // from the environment of who starts it
				continue
			}
			if file, ok := strings.CutPrefix(*value, "/run/secrets/"); !ok || !slices.Contains(s.Secrets, file) {
				t.Errorf("%s has %s in its environment, or as a file that is not given to it", name, key)
			}
		}
		for _, secret := range s.Secrets {
			if p.Secrets[secret].File == "" {
				t.Errorf("%s uses the secret %s, which has no file", name, secret)
			}
		}
	}
	ignored := read(t, ".dockerignore") + read(t, ".gitignore")
	if strings.Count(ignored, "/deployments/docker/secrets/\n") != 2 {
		t.Error("the secrets are not kept out of git and of images")
	}
}

// A port is open for this machine alone unless somebody says otherwise, and another project can have another one.
func TestPortsAreVariables(t *testing.T) {
	form := regexp.MustCompile(`"(?:\$\{ENGRAM_BIND:-127\.0\.0\.1\}|127\.0\.0\.1):\$\{([A-Z0-9_]+_PORT):-([0-9]+)\}:[0-9]+"`)
	text := read(t, "docker-compose.yml")
	seen := map[string]bool{}
	for _, m := range form.FindAllStringSubmatch(text, -1) {
		if seen[m[1]] || seen[m[2]] {
			t.Errorf("%s, or its default %s, stands there twice", m[1], m[2])
		}
		seen[m[1]], seen[m[2]] = true, true
	}
	published := 0
	for _, s := range load(t).Services {
		published += len(s.Ports)
	}
	if published != len(seen)/2 || published < 10 {
		t.Errorf("%d ports are published, %d of them as variables", published, len(seen)/2)
	}
	if p := load(t); len(p.Networks) > 0 {
		t.Errorf("networks have names: %v", p.Networks)
	}
}

// Each daemon is started with settings that it has, which agree with those of the others.
func TestDaemonsUnderstandTheirSettings(t *testing.T) {
	var names []string
	for name, s := range load(t).Services {
		var common daemon.Config
		var err error
		switch {
		case slices.Equal(s.Command, []string{"ingest-gateway"}):
			common, err = settings(s, func(c *daemon.GatewayConfig) daemon.Config { return c.Config })
		case slices.Equal(s.Command, []string{"space-worker"}):
			common, err = settings(s, func(c *daemon.WorkerConfig) daemon.Config {
				if c.Worker.Name != name || c.Worker.Dir != "/data" || !slices.Equal(s.Volumes, []string{name + ":/data"}) {
					t.Errorf("%s is called %q and keeps %s, with the volumes %q", name, c.Worker.Name, c.Worker.Dir, s.Volumes)
				}
				return c.Config
			})
		case slices.Equal(s.Command, []string{"recall-api"}):
			common, err = settings(s, func(c *daemon.RecallConfig) daemon.Config { return c.Config })
		default:
			continue
		}
		names = append(names, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if common.Topology.Replicas != 3 || common.Topology.Shards != 8 || strings.Count(common.NATS.URL, "nats://nats-") != 3 || common.NATS.NKey == "" || common.Listen.Insecure {
			t.Errorf("%s has %+v at %s", name, common.Topology, common.NATS.URL)
		}
		if !slices.Equal(s.Healthcheck.Test, []string{"CMD", s.Command[0], "health"}) || s.StopGrace != "60s" {
			t.Errorf("%s is checked by %q and has %s to stop", name, s.Healthcheck.Test, s.StopGrace)
		}
	}
	if len(names) != 7 {
		t.Errorf("the daemons are %q", names)
	}
}

// settings reads a configuration from the environment of a service, as the program would.
func settings[C any](s *service, common func(*C) daemon.Config) (daemon.Config, error) {
	var env []string
	for key, value := range s.Environment {
		if value != nil {
			env = append(env, key+"="+*value)
		}
	}
	var cfg C
	if err := config.Load(&cfg, config.Options{Program: s.Command[0], Env: env}); err != nil {
		return daemon.Config{}, err
	}
	return common(&cfg), nil
}

// The versions in the file are those of the modules.
func TestVersions(t *testing.T) {
	p := load(t)
	module := func(path string, elem ...string) string {
		m := regexp.MustCompile(regexp.QuoteMeta(path) + ` v(\S+)`).FindStringSubmatch(read(t, elem...))
		if m == nil {
			t.Fatalf("%v does not require %s", elem, path)
		}
		return m[1]
	}
	prometheus := module("github.com/prometheus/prometheus", "tools", "prometheus", "go.mod") // 0.316.0 is Prometheus 3.16.0
	for name, want := range map[string]string{
		"nats-1":     "nats:" + module("github.com/nats-io/nats-server/v2", "go.mod") + "-alpine",
		"worker-1":   "engram:" + version.Number,
		"prometheus": fmt.Sprintf("prom/prometheus:v%s.%s", prometheus[2:3], strings.TrimLeft(prometheus[3:], "0")),
	} {
		if got := p.Services[name].Image; got != want {
			t.Errorf("%s is made of %s, want %s", name, got, want)
		}
	}
	if got := module("github.com/nats-io/nats-server/v2", "tools", "nats-server", "go.mod"); !strings.Contains(p.Services["nats-1"].Image, got) {
		t.Errorf("the local image would have NATS %s", got)
	}
	if text := read(t, "deployments", "docker", "Dockerfile"); !strings.Contains(text, "\nARG VERSION="+version.Number+"\n") {
		t.Errorf("the label of the image is not %s", version.Number)
	}
}
