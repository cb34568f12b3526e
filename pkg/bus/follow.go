package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Follower hands on everything that a bucket holds and what is changed in it. Close ends it.
type Follower struct {
	kv     jetstream.KeyValue
	apply  func(jetstream.KeyValueEntry)
	anew   chan struct{} // one token: the bucket is to be read again
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// FollowBucket calls apply with each entry of a bucket, and returns; from then on with each change until Close, from one
// goroutine. ctx bounds the reading alone. Where the connection is made anew all entries are given again: what was deleted
// meanwhile is not told.
func FollowBucket(ctx context.Context, js jetstream.JetStream, bucket string, apply func(jetstream.KeyValueEntry)) (*Follower, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", bucket, err)
	}
	f := &Follower{kv: kv, apply: apply, anew: make(chan struct{}, 1)}
	// Listening begins before the first watch, so that no reconnection is missed.
	connected := js.Conn().StatusChanged(nats.CONNECTED)
	watcher, err := f.watch(ctx)
	if err != nil {
		js.Conn().RemoveStatusListener(connected)
		return nil, err
	}
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	f.done.Go(func() {
		defer js.Conn().RemoveStatusListener(connected)
		stopWatcher(f.follow(following, watcher, connected))
	})
	return f, nil
}

// KV returns the bucket.
func (f *Follower) KV() jetstream.KeyValue { return f.kv }

// watch begins to watch the bucket and takes over what it holds; ctx bounds that alone.
func (f *Follower) watch(ctx context.Context) (jetstream.KeyWatcher, error) {
	watcher, err := f.kv.WatchAll(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("watching the bucket %s: %w", f.kv.Bucket(), err)
	}
	for {
		select {
		case <-ctx.Done():
			stopWatcher(watcher)
			return nil, fmt.Errorf("reading the bucket %s: %w", f.kv.Bucket(), ctx.Err())
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return nil, fmt.Errorf("reading the bucket %s: the connection was closed", f.kv.Bucket())
			case update == nil:
				return watcher, nil
			}
			f.apply(update)
		}
	}
}

// stopWatcher ends a watcher. What it holds back is read: its callback may wait for that.
func stopWatcher(watcher jetstream.KeyWatcher) {
	// Where the server cannot be told, or has forgotten the watch already, its side ends by itself.
	_ = watcher.Stop()
	for range watcher.Updates() {
	}
}

// follow takes over changes until ctx ends, and returns the watcher that is left. Where the connection is made anew the
// bucket is watched anew: the library would notice only after 20 s that the server does not know the watch any more.
func (f *Follower) follow(ctx context.Context, watcher jetstream.KeyWatcher, connected <-chan nats.Status) jetstream.KeyWatcher {
	updates := watcher.Updates()
	for {
		select {
		case <-ctx.Done():
			return watcher
		case update, ok := <-updates:
			if !ok {
				updates = nil
			} else if update != nil {
				f.apply(update)
			}
		case _, ok := <-connected:
			if !ok {
				connected = nil
				continue
			}
			f.Again()
		case <-f.anew:
			if again := f.again(ctx); again != nil {
				stopWatcher(watcher)
				watcher, updates = again, again.Updates()
			}
		}
	}
}

// again watches anew, as often as it takes; nil when ctx ended before.
func (f *Follower) again(ctx context.Context) jetstream.KeyWatcher {
	for {
		try, cancel := context.WithTimeout(ctx, watchTimeout)
		watcher, err := f.watch(try)
		cancel()
		if err == nil {
			return watcher
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}

const (
	// watchTimeout bounds one try to read the bucket again, and watchPause is the time between two.
	watchTimeout = 5 * time.Second
	watchPause   = 200 * time.Millisecond
)

// Again has the bucket watched anew, and all that it holds applied again, as after a lost connection.
func (f *Follower) Again() {
	select {
	case f.anew <- struct{}{}:
	default:
	}
}

// Close stops following the bucket, and waits for that.
func (f *Follower) Close() {
	f.cancel()
	f.done.Wait()
}
