//go:build chaos

package chaos

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
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
