package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
)

// oneLog makes a set of one log and returns what publishes to it.
func oneLog(t *testing.T, c *bus.Conn) jetstream.JetStream {
	t.Helper()
	if _, _, err := bus.EnsureTopology(t.Context(), c.JS, bus.TopologyConfig{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	return c.JS
}

func entries(ids ...string) []bus.Entry {
	all := make([]bus.Entry, len(ids))
	for i, id := range ids {
		all[i] = bus.Entry{Subject: bus.LogSubject(0, "demo"), ID: id, Data: []byte(id)}
	}
	return all
}

func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(prefix, "/", i)
	}
	return ids
}

// contents reads the log: the body of each message, by sequence, and the batches they were committed in.
func contents(t *testing.T, js jetstream.JetStream) (bySequence map[uint64]string, batches map[string]int) {
	t.Helper()
	c, err := js.OrderedConsumer(t.Context(), bus.LogStream(0), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	bySequence, batches = map[uint64]string{}, map[string]int{}
	for {
		n := len(bySequence)
		got, err := c.FetchNoWait(1000)
		if err != nil {
			t.Fatal(err)
		}
		for m := range got.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			bySequence[meta.Sequence.Stream] = string(m.Data())
			if b := m.Headers().Get(jetstreamext.BatchIDHeader); b != "" {
				batches[b]++
			}
		}
		if got.Error() != nil {
			t.Fatal(got.Error())
		}
		if len(bySequence) == n {
			return bySequence, batches
		}
	}
}

// everyOnce checks that the log holds each of the ids exactly once, where the outcomes say.
func everyOnce(t *testing.T, js jetstream.JetStream, ids []string, out []bus.Outcome) {
	t.Helper()
	bySequence, _ := contents(t, js)
	for i, o := range out {
		if o.Err != nil || bySequence[o.Sequence] != ids[i] {
			t.Fatalf("entry %d: %+v, and there stands %q", i, o, bySequence[o.Sequence])
		}
	}
	count := map[string]int{}
	for _, id := range bySequence {
		count[id]++
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("%s is in the log %d times", id, n)
		}
	}
}

func TestPublishAll(t *testing.T) {
	js := oneLog(t, bustest.Start(t).Connect())
	for _, n := range []int{0, 1, 2, bus.MaxAtomicBatch, 2*bus.MaxAtomicBatch + 1} {
		ids := numbered(fmt.Sprint(n), n)
		out := bus.PublishAll(t.Context(), js, entries(ids...))
		for i, o := range out {
			if o.Err != nil || o.Duplicate || o.Sequence != out[0].Sequence+uint64(i) {
				t.Fatalf("entry %d of %d: %+v, and the first is at %d", i, n, o, out[0].Sequence)
			}
		}
		everyOnce(t, js, ids, out)
	}
}

// Whatever is a duplicate of what, each id gets one message, duplicates the position of the first, and those that are new
// are committed together, in order.
func TestPublishAllDuplicates(t *testing.T) {
	js := oneLog(t, bustest.Start(t).Connect())
	for name, duplicate := range map[string]func(i, n int) bool{
		"first":  func(i, _ int) bool { return i == 0 },
		"last":   func(i, n int) bool { return i == n-1 },
		"middle": func(i, n int) bool { return i == n/2 },
		"ends":   func(i, n int) bool { return i == 0 || i == n-1 },
		"others": func(i, _ int) bool { return i%2 == 0 },
		"all":    func(int, int) bool { return true },
		"none":   func(int, int) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 101
			ids := numbered(name, n)
			first := map[int]bus.Outcome{}
			for i := range ids {
				if duplicate(i, n) {
					first[i] = bus.PublishAll(t.Context(), js, entries(ids[i]))[0]
				}
			}
			_, before := contents(t, js)
			// Two more: of one that is new here, or an earlier one, and of one that is not.
			ids = append(ids, ids[n/2], ids[n/3])
			out := bus.PublishAll(t.Context(), js, entries(ids...))
			last := uint64(0)
			for i, o := range out[:n] {
				if f, ok := first[i]; ok {
					if o.Err != nil || !o.Duplicate || o.Sequence != f.Sequence {
						t.Errorf("entry %d: %+v, and first %+v", i, o, f)
					}
					continue
				}
				if o.Err != nil || o.Duplicate || o.Sequence <= last {
					t.Errorf("entry %d: %+v, behind %d", i, o, last)
				}
				last = o.Sequence
			}
			for i, of := range []int{n / 2, n / 3} {
				if o := out[n+i]; o.Err != nil || !o.Duplicate || o.Sequence != out[of].Sequence {
					t.Errorf("entry %d again: %+v, and first %+v", of, o, out[of])
				}
			}
			everyOnce(t, js, ids, out)
			_, after := contents(t, js)
			want := 1
			if len(first) == n {
				want = 0
			}
			if got := len(after) - len(before); got != want {
				t.Errorf("the rest was committed in %d batches, want %d", got, want)
			}
		})
	}
}

// Two publishers with the same ids at once, as a client that asks two gateways.
func TestPublishAllConcurrently(t *testing.T) {
	s := bustest.Start(t)
	conns := []*bus.Conn{s.Connect(), s.Connect()}
	js := oneLog(t, conns[0])
	const n = 150
	ids := numbered("both", n)
	var all [2][]bus.Outcome
	var done sync.WaitGroup
	for p := range all {
		done.Go(func() {
			for i := 0; i < n; i += 30 {
				all[p] = append(all[p], bus.PublishAll(t.Context(), conns[p].JS, entries(ids[i:i+30]...))...)
			}
		})
	}
	done.Wait()
	for i := range n {
		a, b := all[0][i], all[1][i]
		if a.Err != nil || b.Err != nil || a.Sequence != b.Sequence || a.Duplicate == b.Duplicate {
			t.Errorf("entry %d: %+v and %+v", i, a, b)
		}
	}
	everyOnce(t, js, ids, all[0])
}

// The commit reached the server, and its acknowledgement did not come back: one message each all the same.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := bustest.Start(t)
	js := oneLog(t, s.Connect())
	lossy := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	c, err := bus.Connect(bus.Config{URL: "nats://" + lossy.addr(), FailFast: true, ReconnectWait: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ids := numbered("lost", 40)
	lossy.swallow.Store(true)
	outcomes := make(chan []bus.Outcome, 1)
	go func() { outcomes <- bus.PublishAll(t.Context(), c.JS, entries(ids...)) }()
	waitFor(t, "the acknowledgement of the commit is lost", lossy.lost.Load)
	lossy.swallow.Store(false)
	out := <-outcomes
	for i, o := range out {
		if !o.Duplicate {
			t.Errorf("entry %d: %+v", i, o)
		}
	}
	everyOnce(t, js, ids, out)
	if got := lastSequence(t, js); got != uint64(len(ids)) {
		t.Errorf("the log ends at %d", got)
	}
}

// The server stops in the middle and comes back: every outcome is known in the end, and no id has two messages.
func TestServerStopsMidway(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := bustest.Start(t)
	c := s.Connect()
	js := oneLog(t, c)
	const batches, size = 200, 50
	ids := numbered("stop", batches*size)
	var out []bus.Outcome
	var published atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range batches {
			out = append(out, bus.PublishAll(t.Context(), js, entries(ids[i*size:(i+1)*size]...))...)
			published.Add(1)
		}
	}()
	waitFor(t, "some are in the log", func() bool { return published.Load() >= 5 })
	s.Stop()
	if published.Load() == batches {
		t.Fatal("the server stopped when all was done already")
	}
	s.Restart()
	<-done
	everyOnce(t, js, ids, out)
	if got := lastSequence(t, js); got != batches*size {
		t.Errorf("the log ends at %d, want %d", got, batches*size)
	}
}

// Nobody to ask until the deadline: unknown, for each.
func TestPublishAllWithoutAServer(t *testing.T) {
	s := bustest.Start(t)
	c := s.Connect()
	js := oneLog(t, c)
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, n := range []int{1, 3} {
		start := time.Now()
		for i, o := range bus.PublishAll(ctx, js, entries(numbered("none", n)...)) {
			if !errors.Is(o.Err, bus.ErrUnknownOutcome) {
				t.Errorf("entry %d of %d: %+v", i, n, o)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v with a deadline of 100 ms", took)
		}
	}
}

func TestStorageFull(t *testing.T) {
	js := oneLog(t, bustest.Start(t).Connect())
	stream, err := js.Stream(t.Context(), bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = 64 << 10
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	large := func(ids ...string) []bus.Entry {
		all := entries(ids...)
		for i := range all {
			all[i].Data = make([]byte, 20<<10)
		}
		return all
	}
	if out := bus.PublishAll(t.Context(), js, large("a/1", "a/2")); slices.ContainsFunc(out, func(o bus.Outcome) bool { return o.Err != nil }) {
		t.Fatalf("%+v", out)
	}
	for _, ids := range [][]string{{"b/1"}, {"b/2", "b/3"}} {
		for i, o := range bus.PublishAll(t.Context(), js, large(ids...)) {
			if i == 0 && len(ids) == 1 && o.Err == nil {
				continue // there is room for one more
			}
			if !errors.Is(o.Err, bus.ErrStorageFull) {
				t.Errorf("%v, entry %d: %+v", ids, i, o)
			}
		}
	}
	if out := bus.PublishAll(t.Context(), js, large("c/1")); !errors.Is(out[0].Err, bus.ErrStorageFull) {
		t.Errorf("%+v", out[0])
	}
}

func lastSequence(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}

// proxy passes bytes on between clients and a server, and while swallow is set drops what the server says.
type proxy struct {
	listener net.Listener
	target   string
	swallow  atomic.Bool
	lost     atomic.Bool // the acknowledgement of a batch was dropped
	running  sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close() // one of the two has closed it already
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // it will try again
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.running.Go(func() { _, _ = io.Copy(server, client) })
		p.running.Go(func() { _, _ = io.Copy(&lossyWriter{client, p}, server) })
	}
}

// lossyWriter drops whole writes. What a server sends at once is whole lines of its protocol, and here always small.
type lossyWriter struct {
	w io.Writer
	p *proxy
}

func (l *lossyWriter) Write(b []byte) (int, error) {
	if !l.p.swallow.Load() {
		return l.w.Write(b)
	}
	if bytes.Contains(b, []byte(`"batch":`)) {
		l.p.lost.Store(true)
	}
	return len(b), nil
}

// An entry that no message can hold fails by itself and at once; those around it are written.
func TestEntryLargerThanAMessage(t *testing.T) {
	conn := bustest.Start(t).Connect()
	if _, _, err := bus.EnsureTopology(t.Context(), conn.JS, bus.TopologyConfig{}); err != nil {
		t.Fatal(err)
	}
	entry := func(id string, size int) bus.Entry {
		return bus.Entry{Subject: bus.LogSubject(0, "s"), ID: id, Data: make([]byte, size)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := bus.PublishAll(ctx, conn.JS, []bus.Entry{entry("a", 10), entry("b", int(conn.NC.MaxPayload())+1), entry("c", 10)})
	if out[0].Err != nil || out[2].Err != nil || !errors.Is(out[1].Err, nats.ErrMaxPayload) {
		t.Errorf("outcomes %+v", out)
	}
	if ctx.Err() != nil {
		t.Error("the large entry held the others up until the end")
	}
}
