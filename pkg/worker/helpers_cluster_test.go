package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/placement"
	"github.com/engram-memory/engram/streams"
)

// cluster is a server with the logs of several shards, on which workers come and go.
type cluster struct {
	*world
	// spaces has one for each shard.
	spaces []string
}

func newCluster(t *testing.T, shards int) *cluster {
	t.Helper()
	w := &world{t: t, server: bustest.Start(t)}
	w.conn = w.server.Connect()
	var err error
	if w.topo, _, err = bus.EnsureTopology(within(t), w.conn.JS, bus.TopologyConfig{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	c := &cluster{world: w, spaces: make([]string, shards)}
	for i, left := 0, shards; left > 0; i++ {
		name := fmt.Sprint("space-", i)
		if n := event.ShardOf(name, shards); c.spaces[n] == "" {
			c.spaces[n] = name
			left--
		}
	}
	return c
}

// placed is a worker of a cluster, on a connection of its own.
type placedWorker struct {
	*tested
	conn *bus.Conn
	dir  string
}

// join starts a worker that shares the shards, with a directory of its own unless one is given.
func (c *cluster) join(name, dir string, copies int) *placedWorker {
	c.t.Helper()
	if dir == "" {
		dir = c.t.TempDir()
	}
	conn := c.server.Connect()
	group, err := membership.Join(within(c.t), membership.Options{
		JetStream: conn.JS, Self: membership.Member{Name: name, Epoch: c.topo.Epoch}, Interval: 20 * time.Millisecond,
		Silence: 500 * time.Millisecond, Grace: time.Hour,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	w := &placedWorker{conn: conn, dir: dir}
	w.tested = c.start(func(o *Options) {
		o.Config.Name, o.Config.Dir, o.Config.Placement.Copies, o.Conn, o.JetStream, o.Group = name, dir, copies, conn.NC, conn.JS, group
	})
	return w
}

func (w *placedWorker) serves() []int {
	var all []int
	for _, s := range w.held() {
		if s.serving.Load() != nil {
			all = append(all, s.number)
		}
	}
	slices.Sort(all)
	return all
}

// settled waits until the workers answer for what is placed on them, and hold nothing else.
func (c *cluster) settled(copies int, workers ...*placedWorker) {
	c.t.Helper()
	names := make([]string, len(workers))
	for i, w := range workers {
		names[i] = w.Config.Name
	}
	want := map[string][]int{}
	for shard, on := range placement.Place(c.topo.Shards, copies, names) {
		for _, name := range on {
			want[name] = append(want[name], shard)
		}
	}
	for _, w := range workers {
		until(c.t, fmt.Sprintf("%s answers for %v alone", w.Config.Name, want[w.Config.Name]), func() bool {
			return slices.Equal(w.serves(), want[w.Config.Name]) && len(w.held()) == len(want[w.Config.Name]) && w.Ready() == nil
		})
	}
}

// fill writes rows to the space of each shard.
func (c *cluster) fill(from, to int) {
	c.t.Helper()
	for shard, space := range c.spaces {
		events := []*api.LogEvent{define(space, 3)}
		for i := from; i < to; i++ {
			events = append(events, observe(space, fmt.Sprint(i), direction(i)...))
		}
		entries := make([]bus.Entry, len(events))
		for i, e := range events {
			data, err := proto.Marshal(e)
			if err != nil {
				c.t.Fatal(err)
			}
			entries[i] = bus.Entry{Subject: bus.LogSubject(shard, space), Data: data}
		}
		c.write(entries...)
	}
}

// recallFrom asks a shard for what is nearest to direction(i), once.
func (c *cluster) recallFrom(ctx context.Context, shard, i int) (string, error) {
	body, err := proto.Marshal(&api.RecallRequest{Space: c.spaces[shard], Embedding: embedding(direction(i)...), K: proto.Uint32(1)})
	if err != nil {
		return "", err
	}
	msg, err := c.conn.NC.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbRecall), body)
	if err != nil {
		return "", err
	}
	if text := msg.Header.Get(micro.ErrorHeader); text != "" {
		return "", errors.New(text)
	}
	resp := new(api.RecallResponse)
	if err := proto.Unmarshal(msg.Data, resp); err != nil || len(resp.GetHits()) != 1 {
		return "", fmt.Errorf("%v, %w", resp, err)
	}
	return resp.GetHits()[0].GetId(), nil
}

// ask recalls from all shards without a pause, and never twice for one answer, until stop is called, which returns how often.
func (c *cluster) ask(rows int) (stop func() int) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var asked atomic.Int64
	for shard := range c.spaces {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i = (i + 1) % rows {
				try, done := context.WithTimeout(context.Background(), patience)
				id, err := c.recallFrom(try, shard, i)
				done()
				if err != nil || id != fmt.Sprint(i) {
					c.t.Errorf("shard %d, row %d: %q, %v", shard, i, id, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	stop = sync.OnceValue(func() int { cancel(); all.Wait(); return int(asked.Load()) })
	c.t.Cleanup(func() { stop() })
	return stop
}

// standStill makes every copy of a shard that begins anew stop at an event of the log until let go.
func (c *cluster) standStill(shard int, a *placedWorker) (letGo func()) {
	c.t.Helper()
	last := c.write(bus.Entry{Subject: bus.LogSubject(shard, c.spaces[shard]), Data: []byte("\xff")})
	until(c.t, "the poison is in the quarantine", func() bool { return a.Applied(shard) >= last })
	if err := c.conn.JS.DeleteStream(within(c.t), bus.QuarantineStream); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		cfg, err := streams.Quarantine()
		if err == nil {
			_, err = c.conn.JS.CreateStream(within(c.t), cfg)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// ends closes workers, all at the same time.
func ends(t *testing.T, workers ...*placedWorker) {
	t.Helper()
	closed := make(chan error, len(workers))
	for _, w := range workers {
		go func() { closed <- w.Close() }()
	}
	for range workers {
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
	}
}
