package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// progress follows the workers' heartbeats, and asks the server where a shard has none.
type progress struct {
	sub  *nats.Subscription
	done chan struct{}
	stop chan struct{}
}

const (
	// askEvery bounds the questions to the server: consumer info asked more often is a known way to hurt a cluster.
	askEvery = time.Second
	// silence is after how long without a heartbeat the server is asked.
	silence = 2 * time.Second
)

func (g *Gateway) startProgress(ctx context.Context) error {
	for shard := range g.shards {
		if err := g.askServer(ctx, shard); err != nil {
			return fmt.Errorf("reading the state of shard %d: %w", shard, err)
		}
	}
	sub, err := g.Conn.Subscribe(bus.HeartbeatSubject("*"), g.heartbeat)
	if err != nil {
		return fmt.Errorf("subscribing to heartbeats: %w", err)
	}
	g.progress = progress{sub: sub, done: make(chan struct{}), stop: make(chan struct{})}
	go g.watchSilence()
	return nil
}

func (g *Gateway) heartbeat(m *nats.Msg) {
	hb := new(api.Heartbeat)
	if proto.Unmarshal(m.Data, hb) != nil || hb.GetEpoch() != g.Topology.Epoch {
		return
	}
	now := time.Now()
	for _, s := range hb.GetShards() {
		if int(s.GetShard()) < len(g.shards) && g.shards[s.GetShard()].incarnation(s.GetStreamCreatedAt()) {
			g.shards[s.GetShard()].heartbeat(hb.GetWorker(), s, now)
		}
	}
}

func (g *Gateway) watchSilence() {
	defer close(g.progress.done)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.progress.stop:
			return
		case <-tick.C:
		}
		for shard, s := range g.shards {
			s.mu.Lock()
			quiet, behind := time.Since(s.heard) > silence, s.lag() > 0
			s.mu.Unlock()
			if quiet && behind && g.Conn.IsConnected() {
				ctx, cancel := context.WithTimeout(g.ctx, askEvery)
				if err := g.askServer(ctx, shard); err != nil {
					g.Logger.Debug().Err(err).Int("shard", shard).Msg("no heartbeat, and the server did not say how far the shard is")
				}
				cancel()
			}
		}
	}
}

// askServer takes the highest ack floor of the shard's consumers for what is applied. It does not count as heard.
func (g *Gateway) askServer(ctx context.Context, shard int) error {
	stream, err := g.JetStream.Stream(ctx, bus.LogStream(shard))
	if err != nil {
		return err
	}
	var applied uint64
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		applied = max(applied, info.AckFloor.Stream)
	}
	if err := consumers.Err(); err != nil {
		return err
	}
	if !g.shards[shard].incarnation(stream.CachedInfo().Created.UnixNano()) {
		return nil
	}
	g.shards[shard].asked(applied, stream.CachedInfo().State.LastSeq, time.Now())
	return nil
}

func (g *Gateway) stopProgress() error {
	close(g.progress.stop)
	<-g.progress.done
	if err := g.progress.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("ending the subscription to heartbeats: %w", err)
	}
	return nil
}
