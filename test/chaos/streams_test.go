//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/test/chaos/history"
)

// stream is what the cluster says of a log.
func (d *deployment) stream(ctx context.Context, shard int) (jetstream.Stream, error) {
	js, err := jetstream.New(d.operator)
	if err != nil {
		return nil, err
	}
	return js.Stream(ctx, bus.LogStream(shard))
}

// leader is the service that leads the log of a shard.
func (d *deployment) leader(ctx context.Context, shard int) (string, error) {
	s, err := d.stream(ctx, shard)
	if err != nil {
		return "", fmt.Errorf("asking who leads the log of shard %d: %w", shard, err)
	}
	if c := s.CachedInfo().Cluster; c != nil && c.Leader != "" {
		return c.Leader, nil
	}
	return "", fmt.Errorf("the log of shard %d has no leader", shard)
}

// The log of a shard is deleted, by mistake, and made again under its name. What was in it is gone: the log is the database. That it
// is another log is noticed by every copy, nothing of the old one is served any more, what is written to the new one is found,
// and the other shards have everything.
func TestStreamRecreated(t *testing.T) {
	start := seedOr(t)
	ctx, cancel := context.WithTimeout(t.Context(), last(6*time.Minute, 30*time.Minute))
	defer cancel()
	const shard = 3
	f := &fault{name: "the log of a shard deleted and made again"}
	old := newScene(ctx, t, start, "recreated-before-")
	old.work(ctx, before)
	if err := rig.recreate(ctx, shard); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	// Clients that come after it see nothing of what was before.
	s := newScene(ctx, t, start+1, "recreated-after-")
	s.work(ctx, last(10*time.Second, time.Minute))
	took, ok := s.load.Recovered(since)
	if !ok {
		t.Errorf("not well; what failed: %v", s.load.Failures())
	}
	if err := s.load.Verify(ctx, 2); err != nil {
		t.Fatal(err)
	}
	// Of the clients before it, all shards but this one have everything, and no copy of this one has anything.
	if err := old.load.Verify(ctx, 2, shard); err != nil {
		t.Fatal(err)
	}
	for range 20 { // any copy may answer
		if n, err := old.load.Remaining(ctx, shard); err != nil || n > 0 {
			t.Errorf("%d observations of the old log are still served, %v", n, err)
			break
		}
	}
	for _, one := range []*scene{old, s} {
		if err := one.ledger.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range history.Check(old.ledger.History(), history.Options{}).Violations {
		t.Error(v)
	}
	s.judge(f, start, took)
	if t.Failed() {
		s.logs()
	}
}

// recreate deletes the log of a shard, and makes it again with the same settings.
func (d *deployment) recreate(ctx context.Context, shard int) error {
	js, err := jetstream.New(d.operator)
	if err != nil {
		return err
	}
	old, err := d.stream(ctx, shard)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, bus.LogStream(shard)); err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, old.CachedInfo().Config)
	return err
}
