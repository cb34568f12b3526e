package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
)

// neverCompacting is a server with somebody who takes requests to compact, says so, and does not answer.
func neverCompacting(t *testing.T) (srv *bustest.Server, asked <-chan struct{}) {
	t.Helper()
	srv = bustest.Start(t)
	heard := make(chan struct{}, 1)
	nc := srv.Connect().NC
	if _, err := nc.Subscribe(bus.CompactSubject("*"), func(*nats.Msg) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envServer, srv.URL())
	return srv, heard
}

func TestCompactInterrupted(t *testing.T) {
	_, asked := neverCompacting(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(errors.New("stopped by a signal"))
	}()
	o := engramIn(ctx, strings.NewReader(""), "compact", "notes", "--timeout", "1h")
	if want := "engram: interrupted; the workers go on compacting notes without this command, for up to 1h0m0s\n"; o.code != 130 || o.stderr != want {
		t.Errorf("%+v", o)
	}
	// One that was interrupted before it had asked says nothing of workers.
	o = engramIn(ctx, strings.NewReader(""), "compact", "notes", "--timeout", "1h")
	if o.code != 130 || o.stderr != "engram: interrupted\n" {
		t.Errorf("%+v", o)
	}
}

func TestCompactWithoutAnAnswer(t *testing.T) {
	srv, asked := neverCompacting(t)
	contains(t, fails(t, exitFailure, "compact", "notes", "--timeout", "1s"), "engram: notes was not compacted to the end: deadline: ", "what was reclaimed stays so")
	<-asked
	done := make(chan outcome, 1)
	go func() { done <- engramIn(t.Context(), strings.NewReader(""), "compact", "notes", "--timeout", "1h") }()
	<-asked
	srv.Stop()
	o := <-done
	if o.code != exitFailure || !strings.HasPrefix(o.stderr, "engram: the connection to NATS is lost; whether notes was compacted to the end is not known") {
		t.Errorf("%+v", o)
	}
}
