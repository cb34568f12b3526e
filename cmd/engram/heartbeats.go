package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// A round lasts listenTime: three heartbeats of a worker with the default interval. Where there was none in it, it goes
// on for the longest interval that a worker can have.
const (
	listenTime  = 600 * time.Millisecond
	longestBeat = 1100 * time.Millisecond
)

// round is who was heard.
type round struct {
	workers           map[string]*api.Heartbeat // the last one of each
	gateways, recalls int
}

// copyStatus is how far one worker's copy of one shard is.
type copyStatus struct {
	worker string
	*api.ShardStatus
}

func (c copyStatus) lag() uint64 { return max(c.GetLastSequence(), c.GetApplied()) - c.GetApplied() }

// listen hears the heartbeats of the workers, and who answers to the names of the services.
func listen(ctx context.Context, nc *nats.Conn) (r *round, err error) {
	r = &round{workers: map[string]*api.Heartbeat{}}
	messages := make(chan *nats.Msg, 1024)
	inbox := nc.NewInbox()
	var subs []*nats.Subscription
	defer func() {
		for _, s := range subs {
			if uerr := s.Unsubscribe(); uerr != nil && !errors.Is(uerr, nats.ErrConnectionClosed) {
				err = errors.Join(err, uerr)
			}
		}
	}()
	gateway, recall := inbox+".gateway", inbox+".recall"
	for _, subject := range []string{bus.HeartbeatSubject(bus.Any), gateway, recall} {
		s, err := nc.ChanSubscribe(subject, messages)
		if err != nil {
			return r, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
		subs = append(subs, s)
	}
	for name, reply := range map[string]string{"engram-gateway": gateway, "engram-recall": recall} {
		ping, err := micro.ControlSubject(micro.PingVerb, name, "")
		if err != nil {
			return r, fmt.Errorf("the services of %s: %w", name, err)
		}
		if err := nc.PublishRequest(ping, reply, nil); err != nil {
			return r, fmt.Errorf("asking for the services %s: %w", name, err)
		}
	}
	end := time.NewTimer(listenTime)
	defer end.Stop()
	for extended := false; ; {
		select {
		case <-ctx.Done():
			return r, nil
		case <-end.C:
			if extended || len(r.workers) > 0 {
				return r, nil
			}
			extended = true
			end.Reset(longestBeat - listenTime)
		case m := <-messages:
			if m.Header.Get("Status") != "" {
				continue // the server's word that nobody has that name
			}
			switch m.Subject {
			case gateway:
				r.gateways++
			case recall:
				r.recalls++
			default:
				r.heard(m)
			}
		}
	}
}

// heard takes a heartbeat; what is none, or not under its worker's own name, is left out.
func (r *round) heard(m *nats.Msg) {
	worker, ok := bus.WorkerOf(m.Subject)
	hb := new(api.Heartbeat)
	if ok && proto.Unmarshal(m.Data, hb) == nil && hb.GetWorker() == worker {
		r.workers[worker] = hb
	}
}

// names returns the workers by name.
func (r *round) names() []string {
	names := slices.Sorted(maps.Keys(r.workers))
	if names == nil {
		names = []string{}
	}
	return names
}

// copies returns the copies by shard and worker.
func (r *round) copies() []copyStatus {
	var all []copyStatus
	for worker, hb := range r.workers {
		for _, s := range hb.GetShards() {
			all = append(all, copyStatus{worker, s})
		}
	}
	slices.SortFunc(all, func(a, b copyStatus) int {
		return cmp.Or(cmp.Compare(a.GetShard(), b.GetShard()), cmp.Compare(a.worker, b.worker))
	})
	return all
}
