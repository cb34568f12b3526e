//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/history"
	"github.com/engram-memory/engram/test/chaos/load"
	"github.com/engram-memory/engram/test/chaos/report"
)

// fault is one way to break Engram.
type fault struct {
	// name is that of the table's row.
	name string
	// inject breaks it and mends it again, and returns from when on everything should be well: the moment of the last kill,
	// or of the end of what lasted.
	inject func(ctx context.Context, s *scene) (since time.Time, err error)
	// recovery is how long it may take from then until every shard takes a write and finds it within a second; a minute
	// where it is 0.
	recovery time.Duration
	// mayFail allows one in fifty reads to have no answer within a client's five seconds: where the fault leaves nobody to give one,
	// or where who was asked hangs, and is asked again. All others must be answered.
	mayFail bool
	// judge looks at what else must hold.
	judge func(t *testing.T, s *scene, r *history.Report)
}

// scene is a fault while it happens.
type scene struct {
	*deployment
	t      *testing.T
	random *rand.Rand
	load   *load.Load
	ledger *history.Ledger
	dir    string
}

// last is how long a fault lasts that lasts.
func last(short, longer time.Duration) time.Duration {
	if *long {
		return longer
	}
	return short
}

const (
	before = 3 * time.Second // of clients at work
	after  = 3 * time.Second // of clients at work once all is well
)

// seedOr is the seed of the command line, or one from the clock.
func seedOr(t *testing.T) uint64 {
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", start)
	return start
}

// newScene has clients with spaces of their own, which do not work yet.
func newScene(ctx context.Context, t *testing.T, start uint64, prefix string) *scene {
	t.Helper()
	s := &scene{deployment: rig, t: t, random: rand.New(rand.NewPCG(start, 0)), dir: t.TempDir()}
	var err error
	if s.ledger, err = history.Create(filepath.Join(rig.dir, fmt.Sprintf("%s-%d.ledger", t.Name(), start))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.mend)
	end, err := rig.endpoints()
	if err != nil {
		t.Fatal(err)
	}
	// The number keeps apart what two runs on one deployment write.
	cfg := load.Config{
		Seed: start, Shards: shards, Spaces: 40, Large: 2, Writers: 8, Readers: 6, Pause: 30 * time.Millisecond,
		Prefix: fmt.Sprintf("%s%x-", prefix, uint32(time.Now().Unix())),
	}
	if s.load, err = load.New(ctx, cfg, end, s.ledger); err != nil {
		s.logs()
		t.Fatal(err)
	}
	return s
}

// mend undoes what a test that failed in the middle of its fault has left to the next one.
func (s *scene) mend() {
	if !s.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for _, name := range []string{"nats-3", "worker-3"} {
		if err := s.Empty(ctx, name); err != nil {
			s.t.Error(err)
		}
	}
	if err := s.Start(ctx, all...); err != nil {
		s.t.Error(err)
	}
	if err := s.Heal(ctx, all...); err != nil {
		s.t.Error(err)
	}
	if err := s.Healthy(ctx, 2*time.Minute, all...); err != nil {
		s.t.Error(err)
	}
}

// work lets the clients work for a while.
func (s *scene) work(ctx context.Context, d time.Duration) {
	s.t.Helper()
	working, stop := context.WithTimeout(ctx, d)
	defer stop()
	s.load.Run(working)
	if ctx.Err() != nil {
		s.t.Fatal(ctx.Err())
	}
}

// run has clients at work while a fault happens, waits until all is well, and checks what the clients were told.
func (f *fault) run(t *testing.T) {
	start := seedOr(t)
	ctx, cancel := context.WithTimeout(t.Context(), last(6*time.Minute, 30*time.Minute))
	defer cancel()
	s := newScene(ctx, t, start, strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))+"-")
	since, took := s.happen(ctx, f)
	if err := s.load.Verify(ctx, 2); err != nil {
		s.logs()
		t.Fatal(err)
	}
	if err := s.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	s.judge(f, start, took)
	if t.Failed() {
		s.logs()
	}
	t.Logf("mended %v ago", time.Since(since).Round(time.Millisecond))
}

// happen lets the clients work, and the fault happen.
func (s *scene) happen(ctx context.Context, f *fault) (since time.Time, took time.Duration) {
	s.t.Helper()
	working, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.load.Run(working)
	}()
	defer func() {
		stop()
		<-done
	}()
	if err := load.Pause(ctx, before); err != nil {
		s.t.Fatal(err)
	}
	since, err := f.inject(ctx, s)
	if err != nil {
		s.logs()
		s.t.Fatal(err)
	}
	within := f.recovery
	if within == 0 {
		within = time.Minute
	}
	for ok := false; ; {
		if err := load.Pause(ctx, after); err != nil {
			s.t.Fatal(err)
		}
		if took, ok = s.load.Recovered(since); ok && time.Since(since) > took+after {
			return since, took
		}
		if time.Since(since) > within+after {
			s.t.Errorf("not well within %v; what failed: %v", within, s.load.Failures())
			s.logs()
			return since, took
		}
	}
}

// judge checks the history, and writes the row.
func (s *scene) judge(f *fault, start uint64, took time.Duration) {
	s.t.Helper()
	r := history.Check(s.ledger.History(), history.Options{})
	row := report.Row{
		Fault: f.name, Seed: start, Accepted: r.Accepted, Lost: r.Count(history.Lost), Duplicated: r.Count(history.Twice, history.WrittenTwice),
		Reads: r.Answers + r.Failed, Failed: r.Failed, Staleness: r.Staleness, Recovery: took, Command: s.command(start),
	}
	s.t.Logf("%s", row)
	s.t.Logf("%d accepted, %d of unknown outcome, %d refused, %d forgets, %d duplicates; %d answers; order decided of %d ids, not of %d; staleness measured %v, told %v",
		r.Accepted, r.Unknown, r.Refused, r.Forgets, r.Duplicates, r.Answers, r.Decided, r.Undecided, r.Staleness, r.SaidStaleness)
	for text, n := range s.load.Failures() {
		s.t.Logf("%d times %s", n, text)
	}
	for i, v := range r.Violations {
		if i == 20 {
			s.t.Errorf("and %d more", len(r.Violations)-i)
			break
		}
		s.t.Error(v)
	}
	if r.Failed > 0 && (!f.mayFail || r.Failed*50 > row.Reads) {
		s.t.Errorf("%d of %d reads had no answer within the five seconds of their clients", r.Failed, row.Reads)
	}
	if r.Accepted < 500 || r.Answers < 500 {
		s.t.Errorf("%d observations and %d answers are too little", r.Accepted, r.Answers)
	}
	if f.judge != nil {
		f.judge(s.t, s, r)
	}
	if *write && !s.t.Failed() {
		if err := report.Write(filepath.Join("..", "..", "docs", "RELIABILITY.md"), row); err != nil {
			s.t.Error(err)
		}
	}
}

// command is how the test is run again.
func (s *scene) command(start uint64) string {
	if *command != "" {
		return fmt.Sprintf(*command, s.t.Name())
	}
	text := fmt.Sprintf("task chaos RUN=%s SEED=%d", s.t.Name(), start)
	if *long {
		text += " LONG=1"
	}
	return text
}

// logs shows the end of what each container printed.
func (s *scene) logs() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range all {
		s.t.Logf("%s:\n%s", name, s.Logs(ctx, name, 15))
	}
}
