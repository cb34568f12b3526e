package worker

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// patience bounds every wait. It is far below the 30 s after which the log delivers again what was not acknowledged, so
// a test that passes did not wait for that.
const patience = 15 * time.Second

// until waits for a condition.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	const every = 2 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	// Ticks rather than a deadline: while the process is stopped there are none.
	for ticks := 0; !met(); ticks++ {
		if ticks > int(patience/every) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
		<-tick.C
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines is a log that can be looked at while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int { return strings.Count(l.text(), s) }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func counted(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

// gate holds up who waits at it until it is opened, at the latest when the test ends, so that what fails does not hang.
type gate struct {
	opened chan struct{}
	open   func()
}

func newGate(t testing.TB) gate {
	opened := make(chan struct{})
	g := gate{opened, sync.OnceFunc(func() { close(opened) })}
	t.Cleanup(g.open)
	return g
}

func (g gate) wait() { <-g.opened }

type (
	store      = vecstore.Shard
	storeEvent = vecstore.Event
)
