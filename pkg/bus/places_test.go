package bus_test

import (
	"testing"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// So many requests run at once, one more is told when to come back, a place that is left is there again, and once they are
// stopped nothing begins.
func TestPlaces(t *testing.T) {
	const most = 3
	p := bus.NewPlaces(most, "questions")
	leave, left := make(chan struct{}), make(chan struct{})
	run := func() { <-leave; left <- struct{}{} }
	for range most {
		if refused := p.Go(run); refused != nil {
			t.Fatal(refused)
		}
	}
	if refused := p.Go(run); refused == nil || refused.Code != wire.CodeBackpressure || refused.RetryAfter == 0 {
		t.Fatalf("one more: %v", refused)
	}
	close(leave)
	for range most {
		<-left
	}
	ran := make(chan struct{})
	// What has said that it leaves may not have left yet.
	for refused := p.Go(func() { close(ran) }); refused != nil; refused = p.Go(func() { close(ran) }) {
		if refused.Code != wire.CodeBackpressure {
			t.Fatal(refused)
		}
	}
	<-ran
	p.Stop()
	if refused := p.Go(run); refused == nil || refused.Code != wire.CodeUnavailable {
		t.Errorf("after the stop: %v", refused)
	}
}
