package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
)

// neighbours are names of spaces that share a shard.
func neighbours(n int) []string {
	first := unique("neighbour")
	names := []string{first}
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprintf("%s-%d", first, i); event.ShardOf(name, shards) == event.ShardOf(first, shards) {
			names = append(names, name)
		}
	}
	return names
}

// One space floods its shard through a gateway and a worker, with a priority, until it has been refused often. Meanwhile a
// quiet one on the same shard sends one observation after the other, and waits until each is searchable: none is refused.
func TestQuietSpaceBesideAFlood(t *testing.T) {
	for _, priority := range []api.Priority{api.Priority_PRIORITY_NORMAL, api.Priority_PRIORITY_HIGH} {
		t.Run(priority.String(), func(t *testing.T) {
			const capacity, refusals, least = 400, 60, 30
			srv := bustest.Start(t)
			g := core(t, srv.Connect(), func(c *gateway.Config) { c.Admission.Capacity = capacity })
			startWorker(t, srv.Connect(), capacity)
			names := neighbours(2)
			for _, name := range names {
				must(t, observe(g, name, one(&api.Observation{Embedding: f32(1, 2)})))
			}
			var refused atomic.Int64
			var done atomic.Bool
			// A round of the flood that was refused is followed by another one once the quiet space has sent again: what is
			// shown here is not who gets the processors.
			round := newRounds()
			var flood sync.WaitGroup
			for range 40 {
				flood.Go(func() {
					for n := 0; !done.Load(); {
						req := new(api.ObserveRequest)
						for range 20 {
							req.Observations = append(req.Observations, &api.Observation{Embedding: f32(1, 2), Priority: priority})
						}
						if a := <-observe(g, names[0], req); a.refused != nil {
							if a.refused.Code == wire.CodeBackpressure {
								refused.Add(1)
							}
							n = round.after(n)
						}
					}
				})
			}
			sent := 0
			for ; sent < least || refused.Load() < refusals; sent++ {
				round.next()
				a := <-observe(g, names[1], &api.ObserveRequest{Acknowledgement: searchable, Observations: []*api.Observation{{Embedding: f32(1, 2)}}})
				if a.refused != nil || a.resp.GetResults()[0].GetError() != nil {
					t.Errorf("observation %d of the quiet space, after %d refusals of the flood: %v %v", sent, refused.Load(), a.refused, a.resp)
					break
				}
			}
			done.Store(true)
			round.end()
			flood.Wait()
			t.Logf("%d observations of the quiet space, %d refusals of the flood", sent, refused.Load())
		})
	}
}

// rounds counts, and lets others wait for a higher number.
type rounds struct {
	mu    sync.Mutex
	moved *sync.Cond
	n     int
	ended bool
}

func newRounds() *rounds {
	r := new(rounds)
	r.moved = sync.NewCond(&r.mu)
	return r
}

func (r *rounds) next() { r.change(func() { r.n++ }) }
func (r *rounds) end()  { r.change(func() { r.ended = true }) }

func (r *rounds) change(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	r.moved.Broadcast()
}

// after waits for a round above n, or the end.
func (r *rounds) after(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.n <= n && !r.ended {
		r.moved.Wait()
	}
	return r.n
}

// Clients that send bodies and never end them hold no more of the gateway's memory than its budget, and what is refused for
// that is taken when they have gone.
func TestSlowBodiesAreBounded(t *testing.T) {
	const budget, chunk = 32 << 20, 1 << 20
	g := core(t, connect(t), func(c *gateway.Config) { c.Admission.MaxMemory = budget })
	base := httpFace(t, g)
	space := unique("slow")
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	body := strings.Repeat(" ", chunk)
	for range 2 * budget / (8 * chunk) {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", base)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if _, err := fmt.Fprintf(c, "POST /v1/spaces/%s/observations HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", space, base, 16*chunk); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if _, err := io.WriteString(c, body); err != nil {
				break // it was answered, and cut off
			}
		}
	}
	eventually(t, "the budget is used, and no more", func() bool {
		used := g.Reading()
		if used > budget {
			t.Errorf("%d bytes are read, of %d", used, budget)
		}
		return used > budget-14*chunk // one that is refused lets go of what it has
	})
	status, _, answer := post(t, base, "/v1/spaces/"+space+"/observations", "", `{"embedding":[1]`+strings.Repeat(" ", 15*chunk)+`}`)
	if e := wire.DecodeError(wire.JSON, []byte(answer)); status != http.StatusTooManyRequests || e.Code != wire.CodeBackpressure {
		t.Errorf("%d %s", status, answer)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "what was held is free", func() bool { return g.Reading() == 0 })
	if status, _, answer := post(t, base, "/v1/spaces/"+space+"/observations", "", `{"embedding":[1]}`); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
}

// JSON is counted for what decoding it takes, before it is decoded: a body that would fit by its bytes alone is refused where
// somebody else has memory, be it whole or a line of many, and is taken where nobody has.
func TestDecodingIsCounted(t *testing.T) {
	const budget = 32 << 20
	g := core(t, connect(t), func(c *gateway.Config) { c.Admission.MaxMemory = budget })
	base := httpFace(t, g)
	path := "/v1/spaces/" + unique("decoded") + "/observations"
	other, err := new(net.Dialer).DialContext(t.Context(), "tcp", base)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := fmt.Fprintf(other, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n", path, base); err != nil {
		t.Fatal(err)
	}
	// A line that does not end is held.
	line := strings.Repeat(" ", 1<<20)
	if _, err := fmt.Fprintf(other, "%x\r\n%s\r\n", len(line), line); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line is counted four times", func() bool { return g.Reading() == 4*len(line) })
	body := `{"embedding":[1]` + strings.Repeat(" ", 6<<20) + `}`
	if status, _, answer := post(t, base, path, "", body); status != http.StatusOK {
		t.Errorf("where there is room: %d %s", status, answer)
	}
	body = `{"embedding":[1]` + strings.Repeat(" ", 8<<20) + `}`
	status, _, answer := post(t, base, path, "", body)
	if e := wire.DecodeError(wire.JSON, []byte(answer)); status != http.StatusTooManyRequests || e.Code != wire.CodeBackpressure {
		t.Errorf("where there is none: %d %s", status, answer)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was held is free", func() bool { return g.Reading() == 0 })
	if status, _, answer := post(t, base, path, "", `{"embedding":[1]`+strings.Repeat(" ", 15<<20)+`}`); status != http.StatusOK {
		t.Errorf("where nobody else has any: %d %s", status, answer)
	}
	eventually(t, "it is free again", func() bool { return g.Reading() == 0 })
}
