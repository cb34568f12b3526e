package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func begin(t *testing.T, w *watermark, sequence uint64) uint64 {
	t.Helper()
	ticket, err := w.begin(t.Context(), slot{sequence: sequence, published: time.Unix(int64(sequence), 0), reply: "r", bytes: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func TestWatermarkMovesOverWhatIsContiguous(t *testing.T) {
	w := newWatermark(8, 100, 10)
	a, b, c := begin(t, w, 11), begin(t, w, 13), begin(t, w, 14) // 12 was deleted from the stream
	w.complete(c)
	w.complete(b)
	if m := w.read(); m.applied != 10 || m.outstanding != 1 || m.ahead != 2 || m.fetched != 14 || m.bytes != 1 || !m.oldest.Equal(time.Unix(11, 0)) || m.last != 14 {
		t.Fatalf("past a hole: %+v", m)
	}
	w.complete(a)
	if m := w.read(); m.applied != 14 || m.outstanding != 0 || m.ahead != 0 || m.bytes != 0 || !m.oldest.IsZero() || m.total != 3 {
		t.Fatalf("after the hole was filled: %+v", m)
	}
}

// One that waits for its turn takes one place, however many pass it by: up to ringFactor times the capacity.
func TestWatermarkLetsOthersPass(t *testing.T) {
	w := newWatermark(2, 100, 0)
	slow := begin(t, w, 1)
	last := uint64(1)
	for !w.waits(1) {
		last++
		w.complete(begin(t, w, last))
	}
	if m := w.read(); last != 2*ringFactor || m.applied != 0 || m.outstanding != 1 || m.ahead != 2*ringFactor-1 {
		t.Fatalf("%d were begun: %+v", last, m)
	}
	w.complete(slow)
	if m := w.read(); m.applied != last || m.outstanding != 0 || m.total != last || w.waits(1) {
		t.Fatalf("after the slow one: %+v", m)
	}
}

// Who waits for some events does not wait for those before them.
func TestWatermarkAwaitsAFew(t *testing.T) {
	w := newWatermark(8, 100, 10)
	begin(t, w, 11)
	b, c := begin(t, w, 13), begin(t, w, 14)
	done := make(chan error, 2)
	go func() { done <- w.awaitAll(t.Context(), 12, 14) }()
	go func() { done <- w.awaitAll(t.Context(), 13, 15) }() // 15 is not fetched yet
	until(t, "both wait", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.exact == 2 })
	w.complete(c)
	if len(done) > 0 {
		t.Fatal("13 is not done")
	}
	w.complete(b)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.complete(begin(t, w, 15))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := w.awaitAll(t.Context(), 13, 14); err != nil || w.exact != 0 || w.read().applied != 10 {
		t.Errorf("%v; %d wait at %+v", err, w.exact, w.read())
	}
}

func TestWatermarkBoundsWhatIsOutstanding(t *testing.T) {
	w := newWatermark(2, 100, 0)
	a := begin(t, w, 1)
	begin(t, w, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.begin(ctx, slot{sequence: 3}, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("a third place of two: %v", err)
	}
	placed := make(chan uint64)
	go func() { placed <- begin(t, w, 3) }()
	w.complete(a)
	<-placed

	bytes := newWatermark(10, 100, 0)
	first, err := bytes.begin(t.Context(), slot{sequence: 1, bytes: 1000}, 0)
	if err != nil {
		t.Fatalf("one event larger than the bound must pass alone: %v", err)
	}
	if !bytes.waits(1) {
		t.Fatal("a second one beside it")
	}
	bytes.complete(first)
	if bytes.waits(100) {
		t.Fatal("bytes were not given back")
	}
}

func TestWatermarkAwait(t *testing.T) {
	w := newWatermark(4, 100, 5)
	if err := w.await(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	reached := make(chan error, 1)
	go func() { reached <- w.await(t.Context(), 7) }()
	a, b := begin(t, w, 6), begin(t, w, 7)
	w.complete(b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.await(ctx, 7); !errors.Is(err, context.Canceled) {
		t.Fatalf("7 is searchable and 6 is not: await(7) = %v", err)
	}
	w.complete(a)
	if err := <-reached; err != nil {
		t.Fatal(err)
	}
	if len(w.waiters) != 0 {
		t.Fatalf("%d waiters are left", len(w.waiters))
	}
}

func TestWatermarkRetract(t *testing.T) {
	w := newWatermark(4, 100, 0)
	a, b := begin(t, w, 1), begin(t, w, 2)
	begin(t, w, 3)
	w.retract(b)
	if w.fetched() != 1 {
		t.Fatalf("fetched %d after 2 and 3 were taken back", w.fetched())
	}
	w.complete(a)
	if m := w.read(); m.applied != 1 || m.outstanding != 0 {
		t.Fatalf("what was taken back must not count as applied: %+v", m)
	}
	if again := begin(t, w, 2); again != b {
		t.Fatalf("ticket %d, want %d again", again, b)
	}
}

// Many goroutines complete in any order; applied never runs ahead of what is done, and ends at the end.
func TestWatermarkUnderConcurrency(t *testing.T) {
	const events = 1_000
	w := newWatermark(64, 1<<20, 0)
	tickets := make(chan [2]uint64, 64)
	var done [events + 1]bool
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(1, 2))
			var held [][2]uint64
			flush := func() {
				r.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
				for _, h := range held {
					mu.Lock()
					done[h[0]] = true
					mu.Unlock()
					w.complete(h[1])
					applied := w.read().applied
					mu.Lock()
					if applied > 0 && !done[applied] {
						t.Errorf("applied %d is not done", applied)
					}
					mu.Unlock()
				}
				held = held[:0]
			}
			for {
				select {
				case tk, ok := <-tickets:
					if !ok {
						flush()
						return
					}
					if held = append(held, tk); len(held) < 8 {
						continue
					}
				default:
				}
				// The oldest may be among those held here, and then no new ones come before it is given back.
				flush()
			}
		})
	}
	for seq := uint64(1); seq <= events; seq++ {
		ticket := begin(t, w, seq)
		tickets <- [2]uint64{seq, ticket}
	}
	close(tickets)
	workers.Wait()
	if m := w.read(); m.applied != events || m.outstanding != 0 || m.total != events {
		t.Fatalf("at the end: %+v", m)
	}
}

func TestPendingCountsAsStaleUntilCorrected(t *testing.T) {
	w := newWatermark(4, 100, 0)
	ticket, err := w.begin(t.Context(), slot{sequence: 1, published: time.Unix(7, 0)}, 3)
	if err != nil {
		t.Fatal(err)
	}
	w.complete(ticket)
	if m := w.read(); m.last != 4 || !m.oldest.Equal(time.Unix(7, 0)) {
		t.Fatalf("three are pending behind sequence 1: %+v", m)
	}
	w.correct(99, 0)
	if m := w.read(); m.last != 4 {
		t.Fatalf("a correction for another position was taken: %+v", m)
	}
	w.correct(1, 0)
	if m := w.read(); m.last != 1 || !m.oldest.IsZero() {
		t.Fatalf("after the correction: %+v", m)
	}
}

func TestWatermarkPassesWhatWasDeleted(t *testing.T) {
	w := newWatermark(4, 100, 5)
	w.expect(2, 9, time.Unix(7, 0))
	if m := w.read(); m.last != 9 || m.applied != 5 || !m.oldest.Equal(time.Unix(7, 0)) {
		t.Fatalf("with a backlog that is known and not begun: %+v", m)
	}
	reached := make(chan error, 1)
	go func() { reached <- w.await(t.Context(), 8) }()
	until(t, "somebody waits", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.waiters) == 1
	})
	ticket := begin(t, w, 6)
	w.pass(9)
	if m := w.read(); m.applied != 5 {
		t.Fatalf("passed over what is outstanding: %+v", m)
	}
	w.complete(ticket)
	w.pass(9)
	if m := w.read(); m.applied != 9 || m.last != 9 || !m.oldest.IsZero() {
		t.Fatalf("after what is left was passed: %+v", m)
	}
	if err := <-reached; err != nil {
		t.Fatal(err)
	}
	w.pass(3)
	if m := w.read(); m.applied != 9 {
		t.Fatalf("passed back: %+v", m)
	}
	w.restart(2)
	if m := w.read(); m.applied != 2 || m.last != 2 || m.reply != "" {
		t.Fatalf("of another stream: %+v", m)
	}
}
