package membership_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/membership"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); !so(); {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

// servers is a server with the bucket.
func servers(t *testing.T) *bustest.Server {
	t.Helper()
	s := bustest.Start(t)
	if _, _, err := bus.EnsureTopology(within(t), s.Connect().JS, bus.TopologyConfig{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	return s
}

// join makes a member over a connection of its own, which is closed with what it returns.
func join(t *testing.T, s *bustest.Server, name string) (g *membership.Group, cut func()) {
	t.Helper()
	c := s.Connect()
	g, err := membership.Join(within(t), membership.Options{
		JetStream: c.JS, Self: membership.Member{Name: name, Epoch: "e"}, Interval: 20 * time.Millisecond, Silence: 400 * time.Millisecond,
		Grace: time.Hour, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	left := false
	t.Cleanup(func() {
		if !left {
			_ = g.Leave(within(t)) // the server may be gone
		}
	})
	return g, func() { left = true; c.Close() }
}

func living(g *membership.Group) []string { return g.View().Names() }

func TestMembersKnowEachOther(t *testing.T) {
	s := servers(t)
	a, _ := join(t, s, "a")
	b, _ := join(t, s, "b")
	until(t, "a knows of b", func() bool { return slices.Equal(living(a), []string{"a", "b"}) })
	if got := living(b); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("b, who came second, knows of %q at once", got)
	}
	a.Update(func(m *membership.Member) { m.Serving = []int{2, 5} })
	until(t, "b knows what a serves", func() bool { return slices.Equal(b.View().Servers(5), []string{"a"}) })
	if got := b.View().Servers(3); len(got) != 0 {
		t.Errorf("%q serve shard 3", got)
	}
	if err := a.Leave(within(t)); err != nil {
		t.Fatal(err)
	}
	until(t, "b knows that a has left", func() bool { return slices.Equal(living(b), []string{"b"}) })
	if gone := b.View().Gone; len(gone) != 1 || !gone["a"].Serves(5) {
		t.Errorf("gone are %v, want a with what it served", gone)
	}
}

// A member that dies says nothing.
func TestSilence(t *testing.T) {
	s := servers(t)
	a, _ := join(t, s, "a")
	_, cut := join(t, s, "b")
	until(t, "a knows of b", func() bool { return len(living(a)) == 2 })
	cut()
	until(t, "a has noticed that b is silent", func() bool { return slices.Equal(living(a), []string{"a"}) })
	if gone := slices.Collect(maps.Keys(a.View().Gone)); !slices.Equal(gone, []string{"b"}) {
		t.Errorf("gone are %q", gone)
	}
}

// Who hears nothing at all must not take all others for dead.
func TestAnOutageIsNobodysDeath(t *testing.T) {
	s := servers(t)
	a, _ := join(t, s, "a")
	b, _ := join(t, s, "b")
	until(t, "both know each other", func() bool { return len(living(a)) == 2 && len(living(b)) == 2 && a.View().Steady })
	s.Stop()
	until(t, "a knows that it hears nothing", func() bool { return !a.View().Steady })
	end := time.Now().Add(time.Second) // more than twice the silence that a member dies of
	until(t, "the time is over", func() bool {
		if got := living(a); len(got) != 2 {
			t.Fatalf("%q live while nobody can be heard", got)
		}
		return time.Now().After(end)
	})
	s.Restart()
	until(t, "both know each other again", func() bool { return a.View().Steady && b.View().Steady })
	if x, y := living(a), living(b); len(x) != 2 || len(y) != 2 {
		t.Errorf("after the outage a knows %q, and b %q", x, y)
	}
}

func TestARestartFindsWhatTheOneBeforeSaid(t *testing.T) {
	s := servers(t)
	first, cut := join(t, s, "a")
	if got := first.Previous(); got.Name != "" {
		t.Errorf("before the first a there was %+v", got)
	}
	first.Update(func(m *membership.Member) { m.Serving = []int{3} })
	other, _ := join(t, s, "b")
	until(t, "b knows what a serves", func() bool { return other.View().Living["a"].Serves(3) })
	cut()
	again, _ := join(t, s, "a")
	if got := again.Previous(); !got.Serves(3) {
		t.Errorf("the one before was %+v, want one that serves shard 3", got)
	}
	if err := again.Err(); err != nil {
		t.Errorf("the one that is started later is not the one to yield: %v", err)
	}
}

func TestTheSameNameTwice(t *testing.T) {
	s := servers(t)
	first, _ := join(t, s, "a")
	second, _ := join(t, s, "a")
	until(t, "the first has noticed", func() bool { return errors.Is(first.Err(), membership.ErrUsurped) })
	if err := first.Err(); !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("it says %q, which does not name the worker", err)
	}
	if err := second.Err(); err != nil {
		t.Errorf("the second says %v", err)
	}
}

// What another set of logs has left in the bucket is nobody here.
func TestAnotherEpoch(t *testing.T) {
	s := servers(t)
	a, _ := join(t, s, "a")
	kv, err := s.Connect().JS.KeyValue(within(t), bus.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"b": `{"name":"b","epoch":"other"}`, "c": `{"name":"d","epoch":"e"}`, "e": `{`} {
		if _, err := kv.PutString(within(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kv.PutString(within(t), "z", `{"name":"z","epoch":"e"}`); err != nil {
		t.Fatal(err)
	}
	until(t, "what came last is known", func() bool { return slices.Contains(living(a), "z") })
	if got := living(a); !slices.Equal(got, []string{"a", "z"}) {
		t.Errorf("living are %q", got)
	}
}
