package client

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// pressure is what a producer knows of the refusals of one space: from its own requests, and from what the gateways broadcast.
type pressure struct {
	sub *nats.Subscription

	mu sync.Mutex
	// until is when to send again, by priority: normal, high.
	until [2]time.Time
	// changed is closed at every broadcast.
	changed chan struct{}
}

// longestHold bounds what a broadcast can ask for; another one comes long before.
const longestHold = 10 * time.Second

// listen returns what is known of a space; mu of the producer is held.
func (p *Producer) listen(space string) *pressure {
	if pr := p.spaces[space]; pr != nil {
		return pr
	}
	pr := &pressure{changed: make(chan struct{})}
	// Without the subscription there are refusals all the same.
	pr.sub, _ = p.c.nc.Subscribe(bus.PressureSubject(space), pr.heard)
	p.spaces[space] = pr
	return pr
}

func (pr *pressure) heard(m *nats.Msg) {
	told := new(api.Pressure)
	if proto.Unmarshal(m.Data, told) != nil {
		return
	}
	now := time.Now()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for i, ms := range []uint32{told.GetRetryAfterMs(), told.GetHighRetryAfterMs()} {
		pr.until[i] = time.Time{}
		if ms > 0 {
			pr.until[i] = now.Add(min(time.Duration(ms)*time.Millisecond, longestHold))
		}
	}
	close(pr.changed)
	pr.changed = make(chan struct{})
}

func priorityIndex(high bool) int {
	if high {
		return 1
	}
	return 0
}

// stayAway notes a refusal, or a failure, of one's own.
func (pr *pressure) stayAway(high bool, d time.Duration) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.until[priorityIndex(high)] = time.Now().Add(d)
}

// wait returns when observations of a priority may be sent; false when ctx ended before.
func (pr *pressure) wait(ctx context.Context, high bool) bool {
	for {
		pr.mu.Lock()
		left, changed := time.Until(pr.until[priorityIndex(high)]), pr.changed
		pr.mu.Unlock()
		if left <= 0 {
			return ctx.Err() == nil
		}
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-changed:
			t.Stop()
		case <-t.C:
		}
	}
}
