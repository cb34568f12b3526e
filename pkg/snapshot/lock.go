package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// ErrBusy is wrapped when another worker takes a snapshot of the same shard.
var ErrBusy = errors.New("another worker takes a snapshot of this shard")

// lockTime is for how long a lock holds that is not renewed: its holder has died then. It is far above what the clocks of
// two workers are apart.
const lockTime = 10 * time.Minute

// lock keeps two workers from taking snapshots of one shard at once: one would remove chunks as belonging to no snapshot
// that the other one has found there and does not store again. A lock is a blob of its holder's own. Whoever has put his
// looks for others: of two that come at once at least one sees the other and withdraws.
type lock struct {
	store Store
	name  string
	body  lease
}

// lease is the body of a lock.
type lease struct {
	Worker string    `json:"worker"`
	Until  time.Time `json:"until"`
}

// Token returns what stands for the name of a worker in the names of blobs.
func Token(worker string) string {
	sum := sha256.Sum256([]byte(worker))
	return hex.EncodeToString(sum[:8])
}

// acquire locks the snapshots of a log for a worker.
func acquire(ctx context.Context, store Store, src vecstore.Source, worker string) (*lock, error) {
	l := &lock{store: store, name: prefixOf(src) + lockPrefix + Token(worker) + ".json", body: lease{Worker: worker}}
	if err := l.put(ctx); err != nil {
		return nil, err
	}
	if err := l.alone(ctx, prefixOf(src)); err != nil {
		return nil, errors.Join(err, l.release(ctx))
	}
	return l, nil
}

func (l *lock) put(ctx context.Context) error {
	l.body.Until = time.Now().Add(lockTime).UTC()
	b, err := json.Marshal(&l.body)
	if err != nil {
		return fmt.Errorf("encoding a lock: %w", err)
	}
	return l.store.Put(ctx, l.name, b)
}

// alone returns ErrBusy when somebody else holds a lock.
func (l *lock) alone(ctx context.Context, prefix string) error {
	locks, err := l.store.List(ctx, prefix+lockPrefix)
	if err != nil {
		return err
	}
	for _, other := range locks {
		if other.Name == l.name {
			continue
		}
		b, err := l.store.Get(ctx, other.Name)
		if errors.Is(err, ErrNotFound) {
			continue // released since
		}
		if err != nil {
			return err
		}
		var theirs lease
		if err := json.Unmarshal(b, &theirs); err == nil && time.Now().Before(theirs.Until) {
			return fmt.Errorf("%w: %s, until %s at the latest", ErrBusy, theirs.Worker, theirs.Until.Format(time.RFC3339))
		}
		// Its holder has died, or nobody can tell until when it holds.
		if err := l.store.Delete(ctx, other.Name); err != nil {
			return err
		}
	}
	return nil
}

// renew makes the lock hold for longer, once a third of its time is over.
func (l *lock) renew(ctx context.Context) error {
	if time.Until(l.body.Until) > lockTime*2/3 {
		return nil
	}
	return l.put(ctx)
}

// release ends the lock, also when ctx has ended.
func (l *lock) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	return l.store.Delete(ctx, l.name)
}

// releaseTime bounds what is done after a context has ended.
const releaseTime = 5 * time.Second
