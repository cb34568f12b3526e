package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
)

// asking has two connections to a server, and one that answers "q" as a test says, by the number of the request.
func asking(t *testing.T, answer func(n int64, m *nats.Msg)) (*nats.Conn, *atomic.Int64) {
	t.Helper()
	s := bustest.Start(t)
	server, client := s.Connect().NC, s.Connect().NC
	asked := new(atomic.Int64)
	if answer != nil {
		if _, err := server.Subscribe("q", func(m *nats.Msg) { answer(asked.Add(1), m) }); err != nil {
			t.Fatal(err)
		}
		if err := server.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return client, asked
}

func respond(t *testing.T, m *nats.Msg, code, body string) {
	t.Helper()
	r := nats.NewMsg(m.Reply)
	r.Data = []byte(body)
	if code != "" {
		r.Header.Set(micro.ErrorCodeHeader, code)
	}
	if err := m.RespondMsg(r); err != nil {
		t.Error(err)
	}
}

var (
	quick  = bus.Asking{Hedge: 20 * time.Millisecond, Patience: time.Minute}
	seldom = bus.Asking{Hedge: time.Minute, Patience: time.Minute}
)

func TestAskOnce(t *testing.T) {
	nc, asked := asking(t, func(_ int64, m *nats.Msg) { respond(t, m, "", "yes") })
	m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, seldom)
	if err != nil || string(m.Data) != "yes" || asked.Load() != 1 {
		t.Errorf("%v, %v, after %d requests", m, err, asked.Load())
	}
}

// The first request goes to somebody who dies with it.
func TestAskAgainWhereNoAnswerComes(t *testing.T) {
	nc, asked := asking(t, func(n int64, m *nats.Msg) {
		if n == 3 {
			respond(t, m, "", "yes")
		}
	})
	m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, quick)
	if err != nil || string(m.Data) != "yes" || asked.Load() != 3 {
		t.Errorf("%v, %v, after %d requests", m, err, asked.Load())
	}
}

// An answer that only takes long is taken, though it was asked for another time.
func TestAskTakesALateAnswer(t *testing.T) {
	var first *nats.Msg
	nc, _ := asking(t, func(n int64, m *nats.Msg) {
		if n == 1 {
			first = m
		} else if first != nil {
			respond(t, first, "", "late")
			first = nil
		}
	})
	m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, quick)
	if err != nil || string(m.Data) != "late" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAskAgainWhereItIsRefusedForNow(t *testing.T) {
	nc, asked := asking(t, func(n int64, m *nats.Msg) {
		if n < 3 {
			respond(t, m, "503", "not now")
		} else {
			respond(t, m, "", "yes")
		}
	})
	if m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, seldom); err != nil || string(m.Data) != "yes" || asked.Load() != 3 {
		t.Errorf("%v, %v, after %d requests", m, err, asked.Load())
	}
}

func TestAskReturnsOtherRefusals(t *testing.T) {
	nc, asked := asking(t, func(_ int64, m *nats.Msg) { respond(t, m, "404", "never") })
	if m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, seldom); err != nil || string(m.Data) != "never" || asked.Load() != 1 {
		t.Errorf("%v, %v, after %d requests", m, err, asked.Load())
	}
}

// What was said last is worth more than that the time is over.
func TestAskUntilTheEnd(t *testing.T) {
	nc, _ := asking(t, func(_ int64, m *nats.Msg) { respond(t, m, "503", "not now") })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := bus.Ask(ctx, nc, &nats.Msg{Subject: "q"}, seldom); err != nil || string(m.Data) != "not now" {
		t.Errorf("with a deadline: %v, %v", m, err)
	}
	if m, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, bus.Asking{Hedge: time.Minute}); err != nil || string(m.Data) != "not now" {
		t.Errorf("without patience: %v, %v", m, err)
	}
}

func TestAskWhereNobodyIs(t *testing.T) {
	nc, _ := asking(t, nil)
	if _, err := bus.Ask(t.Context(), nc, &nats.Msg{Subject: "q"}, seldom); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody there: %v", err)
	}
	silent, _ := asking(t, func(int64, *nats.Msg) {})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := bus.Ask(ctx, silent, &nats.Msg{Subject: "q"}, quick); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}
