package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cluster is the containers of one compose project, by the names of their services. Its methods may be called by any number of
// goroutines, but not two of them for one service at the same time.
type Cluster struct {
	project string

	mu   sync.Mutex
	slow map[string]func() error // ends what Slow began, by service
}

// Open returns the cluster of a compose project, which may have no containers yet.
func Open(project string) *Cluster {
	return &Cluster{project: project, slow: map[string]func() error{}}
}

// run is a command; its error has what it printed.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Host is one container as it is now.
type Host struct {
	Service, ID string
	// Address is its IP address, and PID its first process; empty and 0 while it does not run.
	Address string
	PID     int
	Running bool
	Health  string // "healthy" where its check passed, empty where it has none
	Mounts  []Mount
}

// Mount is a volume or directory of a container.
type Mount struct {
	Type, Name, Source, Destination string
	RW                              bool
}

// Hosts are all containers, by their services' names.
func (c *Cluster) Hosts(ctx context.Context) ([]Host, error) {
	ids, err := run(ctx, "docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+c.project)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(ids) == "" {
		return nil, nil
	}
	text, err := run(ctx, "docker", append([]string{"inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	var all []struct {
		ID    string `json:"Id"`
		State struct {
			Running bool
			Pid     int
			Health  struct{ Status string }
		}
		Config          struct{ Labels map[string]string }
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
		Mounts []Mount
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("reading what docker inspect says: %w", err)
	}
	var hosts []Host
	for _, one := range all {
		h := Host{Service: one.Config.Labels["com.docker.compose.service"], ID: one.ID, PID: one.State.Pid, Running: one.State.Running, Health: one.State.Health.Status, Mounts: one.Mounts}
		for _, n := range one.NetworkSettings.Networks {
			h.Address = n.IPAddress
		}
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b Host) int { return strings.Compare(a.Service, b.Service) })
	return hosts, nil
}

// Host is the container of one service.
func (c *Cluster) Host(ctx context.Context, service string) (Host, error) {
	all, err := c.Hosts(ctx)
	if err != nil {
		return Host{}, err
	}
	for _, h := range all {
		if h.Service == service {
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("the project %s has no container of the service %s", c.project, service)
}

// Kill ends a container's processes at once. Its restart policy does not start it again: Start does.
func (c *Cluster) Kill(ctx context.Context, services ...string) error {
	return c.each(ctx, services, "kill")
}

// Stop ends containers as an operator would, all at the same time, and gives each so long to do it.
func (c *Cluster) Stop(ctx context.Context, grace time.Duration, services ...string) error {
	return c.each(ctx, services, "stop", "--time", fmt.Sprint(int(grace.Seconds())))
}

// Start starts containers that were killed or stopped, with their volumes.
func (c *Cluster) Start(ctx context.Context, services ...string) error {
	return c.each(ctx, services, "start")
}

// Freeze stops all processes of containers in their tracks, and Thaw lets them go on.
func (c *Cluster) Freeze(ctx context.Context, services ...string) error {
	return c.each(ctx, services, "pause")
}

// Thaw is the opposite of Freeze.
func (c *Cluster) Thaw(ctx context.Context, services ...string) error {
	return c.each(ctx, services, "unpause")
}

// each runs a docker command for the containers of services, all at the same time.
func (c *Cluster) each(ctx context.Context, services []string, args ...string) error {
	all, err := c.Hosts(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range services {
		i := slices.IndexFunc(all, func(h Host) bool { return h.Service == s })
		if i < 0 {
			return fmt.Errorf("the project %s has no container of the service %s", c.project, s)
		}
		ids = append(ids, all[i].ID)
	}
	// The command goes through its arguments one by one.
	errs := make([]error, len(ids))
	var done sync.WaitGroup
	for i, id := range ids {
		done.Go(func() { _, errs[i] = run(ctx, "docker", append(slices.Clone(args), id)...) })
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Logs are the last lines that a container printed.
func (c *Cluster) Logs(ctx context.Context, service string, lines int) string {
	h, err := c.Host(ctx, service)
	if err != nil {
		return err.Error()
	}
	cmd := exec.CommandContext(ctx, "docker", "logs", "--tail", fmt.Sprint(lines), h.ID)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}

// Healthy waits until the containers of services run and, where they have a health check, pass it.
func (c *Cluster) Healthy(ctx context.Context, within time.Duration, services ...string) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for last := error(nil); ; {
		not, err := c.unhealthy(ctx, services)
		if err == nil && len(not) == 0 {
			return nil
		}
		if ctx.Err() == nil {
			last = fmt.Errorf("these are not healthy: %v (%v)", not, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", within, last)
		case <-tick.C:
		}
	}
}

func (c *Cluster) unhealthy(ctx context.Context, services []string) ([]string, error) {
	hosts, err := c.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	well := map[string]bool{}
	for _, h := range hosts {
		well[h.Service] = h.Running && (h.Health == "" || h.Health == "healthy")
	}
	return slices.DeleteFunc(slices.Clone(services), func(s string) bool { return well[s] }), nil
}
