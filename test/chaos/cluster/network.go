package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Cut drops all packets between one service and others, in both directions and without a word to either side. It lasts until Heal,
// or until the container is stopped.
func (c *Cluster) Cut(ctx context.Context, service string, from ...string) error {
	h, err := c.running(ctx, service)
	if err != nil {
		return err
	}
	for _, name := range from {
		peer, err := c.running(ctx, name)
		if err != nil {
			return err
		}
		for _, rule := range [][]string{{"INPUT", "-s", peer.Address}, {"OUTPUT", "-d", peer.Address}} {
			if err := c.inside(ctx, h, "iptables", append(append([]string{"-w", "-I"}, rule...), "-j", "DROP")...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Heal ends what Cut and Slow have done to services.
func (c *Cluster) Heal(ctx context.Context, services ...string) error {
	for _, s := range services {
		c.mu.Lock()
		end := c.slow[s]
		delete(c.slow, s)
		c.mu.Unlock()
		h, err := c.Host(ctx, s)
		if err == nil && h.Running {
			for _, chain := range []string{"INPUT", "OUTPUT"} {
				err = errors.Join(err, c.inside(ctx, h, "iptables", "-w", "-F", chain))
			}
		}
		if end != nil {
			err = errors.Join(err, end())
		}
		if err != nil {
			return fmt.Errorf("healing %s: %w", s, err)
		}
	}
	return nil
}

// Slow delays every packet that a service sends, and loses a share of them, from 0 to 1, until Heal. Loopback is left alone. It is
// done by tc netem where the kernel has it, and else by this process, through a queue of the netfilter: by says which.
func (c *Cluster) Slow(ctx context.Context, service string, delay time.Duration, loss float64) (by string, err error) {
	h, err := c.running(ctx, service)
	if err != nil {
		return "", err
	}
	ms, percent := fmt.Sprintf("%dms", delay.Milliseconds()), fmt.Sprintf("%g%%", loss*100)
	if c.inside(ctx, h, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "limit", "100000", "delay", ms, "loss", percent) == nil {
		c.ends(service, func() error {
			return c.inside(context.WithoutCancel(ctx), h, "tc", "qdisc", "del", "dev", "eth0", "root")
		})
		return "tc netem", nil
	}
	end, err := delayQueue(h.PID, delay, loss)
	if err != nil {
		return "", fmt.Errorf("slowing %s down: %w", service, err)
	}
	c.ends(service, end)
	// Where this process dies the packets go on as if there were no rule.
	err = c.inside(ctx, h, "iptables", "-w", "-I", "OUTPUT", "!", "-o", "lo", "-j", "NFQUEUE", "--queue-num", strconv.Itoa(queueNumber), "--queue-bypass")
	if err != nil {
		return "", errors.Join(err, c.Heal(ctx, service))
	}
	return "a netfilter queue", nil
}

func (c *Cluster) ends(service string, end func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow[service] = end
}

func (c *Cluster) running(ctx context.Context, service string) (Host, error) {
	h, err := c.Host(ctx, service)
	if err == nil && !h.Running {
		err = fmt.Errorf("%s does not run", service)
	}
	return h, err
}

// inside runs a command of this machine in a container's network namespace.
func (c *Cluster) inside(ctx context.Context, h Host, name string, args ...string) error {
	_, err := run(ctx, "nsenter", append([]string{"--net=/proc/" + strconv.Itoa(h.PID) + "/ns/net", name}, args...)...)
	return err
}

// Possible tells why this machine cannot run a cluster and break it, nil where it can.
func Possible(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := run(ctx, "docker", "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("asking Docker Engine: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can reach into the network of a container")
	}
	for _, tool := range [][]string{{"nsenter", "--version"}, {"iptables", "--version"}} {
		if _, err := run(ctx, tool[0], tool[1:]...); err != nil {
			return err
		}
	}
	return nil
}
