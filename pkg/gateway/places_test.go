package gateway_test

import (
	"errors"
	"testing"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

// Forgets and defines wait on goroutines, of which there are so many: those for which there is no place are told when to come
// back, do not keep others from theirs, and are taken once there is one.
func TestPlacesOfRequests(t *testing.T) {
	srv := bustest.Start(t)
	if _, _, err := bus.EnsureTopology(t.Context(), srv.Connect().JS, bus.TopologyConfig{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	conn := srv.Connect()
	g := core(t, conn, nil)
	s, err := g.Serve("0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := client.New(conn.NC)
	ask := map[string]func() error{
		"define": func() error {
			_, err := c.Define(t.Context(), "demo", &api.DefineRequest{})
			return err
		},
		"forget": func() error {
			_, err := c.Forget(t.Context(), "demo", &api.ForgetRequest{Ids: []string{"a"}})
			return err
		},
	}
	if err := ask["define"](); err != nil {
		t.Fatal(err)
	}
	for kind := range ask {
		leave := s.Crowd(kind)
		for other, send := range ask {
			err := send()
			var refused *wire.Error
			if crowded := errors.As(err, &refused) && refused.Code == wire.CodeBackpressure && refused.RetryAfter > 0; crowded != (kind == other) || !crowded && err != nil {
				t.Errorf("%s, where all places for %ss are taken: %v", other, kind, err)
			}
		}
		leave()
		eventually(t, "a "+kind+" is taken again", func() bool { return ask[kind]() == nil })
	}
}
