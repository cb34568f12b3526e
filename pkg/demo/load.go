package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// inFlight requests wait for their acknowledgement at once: while one batch commits, the next one fills.
	inFlight = 16
	// readAhead is how many requests are read ahead of those in flight, 32,768 documents: the whole Go toolchain, so that
	// the progress bar soon knows how long it is, and a folder of any size in bounded memory.
	readAhead = 512
	// publishTimeout bounds one request with all its retries.
	publishTimeout = time.Minute
	// retryPause is between two tries of a request of which a part failed.
	retryPause = 100 * time.Millisecond
)

// loader publishes documents, and can be asked by others how far it is.
type loader struct {
	client *client.Client
	topics topics // what may be asked about

	began    atomic.Pointer[time.Time] // when the first request was sent
	read     atomic.Int64              // documents
	whole    atomic.Bool               // all of them are read
	accepted atomic.Int64
	wordless atomic.Int64 // documents without a word to embed
	refusals atomic.Int64 // of requests, that were sent again
}

// load publishes everything that the source has, and returns when all of it is accepted.
func (l *loader) load(ctx context.Context, src *source) error {
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan batch, readAhead)
	g.Go(func() error {
		defer close(batches)
		err := src.batches(ctx, func(b batch) error {
			select {
			case batches <- b:
				l.read.Add(int64(len(b.observations)))
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		l.whole.Store(err == nil)
		return err
	})
	for range inFlight {
		g.Go(func() error {
			for b := range batches {
				if err := l.publish(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if l.accepted.Load() == 0 {
		return errors.New("none of the documents has a word or number in it to embed")
	}
	return nil
}

// publish returns when a batch is accepted. The embedder refuses a text without a word, and with it the request, so the
// batch is halved until that one is alone, and left out.
func (l *loader) publish(ctx context.Context, b batch) error {
	now := time.Now()
	l.began.CompareAndSwap(nil, &now)
	err := l.observe(ctx, b)
	if n := len(b.observations); noWords(err) {
		if n == 1 {
			l.wordless.Add(1)
			return nil
		}
		first, second := b, b
		first.observations, second.observations = b.observations[:n/2], b.observations[n/2:]
		if err := l.publish(ctx, first); err != nil {
			return err
		}
		return l.publish(ctx, second)
	}
	if err != nil {
		return fmt.Errorf("publishing to space %s: %w", b.space, err)
	}
	l.accepted.Add(int64(len(b.observations)))
	l.topics.add(b.space, b.query)
	return nil
}

func noWords(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == wire.CodeInvalidEmbedding && strings.HasSuffix(e.Field, "text")
}

// observe sends a request until all of it is accepted. Its retries share one idempotency key, so that what was accepted
// by an earlier one is not doubled.
func (l *loader) observe(ctx context.Context, b batch) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	req := &api.ObserveRequest{Observations: b.observations}
	for {
		resp, err := l.client.ObserveRetrying(ctx, b.space, req, func(*wire.Error) { l.refusals.Add(1) })
		if err != nil {
			return err
		}
		var failed *api.Error
		for _, r := range resp.GetResults() {
			if r.GetError() != nil {
				failed = r.GetError()
				break
			}
		}
		if failed == nil {
			return nil
		}
		l.refusals.Add(1)
		if pause(ctx, retryPause) != nil {
			return wire.FromProto(failed)
		}
	}
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
