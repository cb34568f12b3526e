package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

// SessionsConfig is a run that holds sessions open.
type SessionsConfig struct {
	Sessions int
	// Transport is grpc or websocket.
	Transport string
	Data      string
	// Client starts the process that opens the sessions, with its arguments: the memory of clients is not to be counted.
	Client []string
}

// Validate tells what of the configuration cannot be.
func (c *SessionsConfig) Validate() error {
	if c.Sessions <= 0 {
		return fmt.Errorf("--sessions is %d; it must be above 0", c.Sessions)
	}
	if c.Transport != "grpc" && c.Transport != "websocket" {
		return fmt.Errorf("--transport is %q; it can be grpc or websocket", c.Transport)
	}
	return nil
}

// SessionsReport is what such a run measured. Memory is that of the node, before the sessions and with them.
type SessionsReport struct {
	Sessions          int     `json:"sessions"`
	Transport         string  `json:"transport"`
	OpenedPerSecond   float64 `json:"opened_per_second"`
	GoroutinesBefore  int     `json:"goroutines_before"`
	Goroutines        int     `json:"goroutines"`
	HeapBytes         uint64  `json:"heap_and_stack_bytes"`
	HeapBytesBefore   uint64  `json:"heap_and_stack_bytes_before"`
	RSSBytes          uint64  `json:"rss_bytes"`
	RSSBytesBefore    uint64  `json:"rss_bytes_before"`
	BytesOfOne        float64 `json:"heap_and_stack_bytes_of_one"`
	RSSBytesOfOne     float64 `json:"rss_bytes_of_one"`
	SecondsUntilEnded float64 `json:"seconds_until_ended"`
}

// opened is the line by which the client's process says that all sessions are open.
const opened = "open"

// Sessions runs it.
func Sessions(ctx context.Context, cfg SessionsConfig, log zerolog.Logger, phase func(string)) (rep SessionsReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "", "127.0.0.1:0", ""
	nc.Gateway.Session.MaxSessions = max(nc.Gateway.Session.MaxSessions, cfg.Sessions)
	phase("starting a node")
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	rep = SessionsReport{Sessions: cfg.Sessions, Transport: cfg.Transport}
	rep.HeapBytesBefore, rep.RSSBytesBefore, rep.GoroutinesBefore = memoryNow(), residentNow(), runtime.NumGoroutine()
	phase(fmt.Sprintf("opening %d sessions", cfg.Sessions))
	child := exec.CommandContext(ctx, cfg.Client[0], append(cfg.Client[1:], "--connect", n.HTTPAddr())...)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return rep, fmt.Errorf("starting the clients: %w", err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return rep, fmt.Errorf("starting the clients: %w", err)
	}
	start := time.Now()
	if err := child.Start(); err != nil {
		return rep, fmt.Errorf("starting the clients: %w", err)
	}
	line, rerr := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) == opened {
		rep.OpenedPerSecond = float64(cfg.Sessions) / time.Since(start).Seconds()
		rep.HeapBytes, rep.RSSBytes, rep.Goroutines = memoryNow(), residentNow(), runtime.NumGoroutine()
		rep.BytesOfOne = (float64(rep.HeapBytes) - float64(rep.HeapBytesBefore)) / float64(cfg.Sessions)
		rep.RSSBytesOfOne = (float64(rep.RSSBytes) - float64(rep.RSSBytesBefore)) / float64(cfg.Sessions)
		rerr = nil
	}
	phase("ending them")
	start = time.Now()
	err = errors.Join(rerr, in.Close(), child.Wait())
	if err != nil {
		return rep, fmt.Errorf("the clients: %w", err)
	}
	rep.SecondsUntilEnded = time.Since(start).Seconds()
	return rep, nil
}

// memoryNow returns the bytes of live objects and stacks.
func memoryNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// streamsOfOne is how many streams a client's connection carries.
const streamsOfOne = 500

// SessionClients opens sessions at an address, says so, and holds them until in ends.
func SessionClients(ctx context.Context, cfg SessionsConfig, addr string, in io.Reader, out io.Writer) error {
	var opening errgroup.Group
	opening.SetLimit(64)
	all := make([]frames, cfg.Sessions)
	conns := make([]*http.Transport, (cfg.Sessions+streamsOfOne-1)/streamsOfOne)
	for i := range conns {
		conns[i] = unencrypted()
	}
	for i := range all {
		opening.Go(func() (err error) {
			if cfg.Transport == "grpc" {
				all[i] = grpcStream(ctx, conns[i/streamsOfOne], addr, nil)
			} else if all[i], err = socketStream(ctx, addr, wire.JSON); err != nil {
				return err
			}
			_, err = openSession(all[i], &api.StreamInit{Space: "demo"})
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, opened); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	for _, s := range all {
		s.close()
	}
	for _, tr := range conns {
		tr.CloseIdleConnections()
	}
	return err
}
