package recall_test

import (
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/wire"
)

// There are so many places for requests that are handed on, for those that are answered, and for those of admins: what finds
// none is told when to come back, the others go on, and a place that is left is there again.
func TestPlacesOfRequests(t *testing.T) {
	srv := bustest.Start(t)
	conn := srv.Connect()
	s, err := routerOf(t, conn).Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	// Of a space that is not there, so that an answer comes at once.
	kinds := map[string]string{
		bus.RecallSubject("none"): "forward", bus.GetSubject("none"): "forward", bus.ListSubject("none"): "forward",
		bus.CompactSubject("none"): "work", bus.ProveSubject("none"): "work", bus.RecallManySubject: "answer", bus.SpacesSubject: "answer",
	}
	crowded := func(subject string) bool {
		_, e, status := request(t, conn.NC, wire.JSON, subject, []byte(`{}`))
		return e != nil && e.Code == wire.CodeBackpressure && status == 429 && e.RetryAfter > 0
	}
	for _, kind := range []string{"forward", "answer", "work"} {
		leave := s.Crowd(kind)
		for subject, of := range kinds {
			if got := crowded(subject); got != (kind == of) {
				t.Errorf("where all places to %s are taken, it is %v that %s is refused for that", kind, got, subject)
			}
		}
		leave()
		deadline := time.Now().Add(timeout)
		for subject := range kinds {
			for crowded(subject) {
				if time.Now().After(deadline) {
					t.Fatalf("%s is still refused", subject)
				}
			}
		}
	}
}
