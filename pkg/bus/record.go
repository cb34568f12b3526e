package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/event"
)

// clusterKey is the key of the bucket ENGRAM_META that holds the record.
const clusterKey = "cluster"

// epochLength is in letters of base32: 50 random bits, so that two sets of logs do not meet in one name.
const epochLength = 10

// record is what can never change for one set of logs.
type record struct {
	Epoch     string    `json:"epoch"`
	Shards    int       `json:"shards"`
	CreatedAt time.Time `json:"created_at"`
}

// readRecord returns jetstream.ErrKeyNotFound when there is none yet.
func readRecord(ctx context.Context, kv jetstream.KeyValue) (record, error) {
	entry, err := kv.Get(ctx, clusterKey)
	if err != nil {
		return record{}, fmt.Errorf("reading the key %q of the bucket %s: %w", clusterKey, MetaBucket, err)
	}
	return parseRecord(entry.Value())
}

func parseRecord(text []byte) (record, error) {
	var r record
	err := json.Unmarshal(text, &r)
	switch {
	case err != nil:
	case r.Shards < 1 || r.Shards > event.MaxShards:
		err = fmt.Errorf("it has %d shards, want 1 to %d", r.Shards, event.MaxShards)
	case r.Epoch == "" || len(r.Epoch) > 64 || strings.Trim(r.Epoch, "abcdefghijklmnopqrstuvwxyz0123456789") != "":
		err = fmt.Errorf("its epoch is %q, want 1 to 64 of a-z and 0-9", r.Epoch)
	}
	if err != nil {
		return record{}, fmt.Errorf("the key %q of the bucket %s cannot be understood: %w; restore it, since positions and the "+
			"shards of spaces depend on it", clusterKey, MetaBucket, err)
	}
	return r, nil
}

// agreeOnRecord writes a record by compare-and-set, or returns the one that another daemon has written first.
func agreeOnRecord(ctx context.Context, kv jetstream.KeyValue, shards int) (record, error) {
	mine := record{Epoch: newEpoch(), Shards: shards, CreatedAt: time.Now().UTC()}
	encoded, err := json.Marshal(mine)
	if err != nil {
		return record{}, fmt.Errorf("encoding the record of the set of logs: %w", err)
	}
	_, err = kv.Create(ctx, clusterKey, encoded)
	if err == nil {
		return mine, nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return record{}, fmt.Errorf("writing the key %q of the bucket %s: %w", clusterKey, MetaBucket, err)
	}
	for {
		theirs, err := readRecord(ctx, kv)
		if !errors.Is(err, jetstream.ErrKeyNotFound) {
			return theirs, err
		}
		// A direct get is answered by any replica, and this one has not heard of the write yet.
		select {
		case <-ctx.Done():
			return record{}, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func newEpoch() string { return strings.ToLower(rand.Text()[:epochLength]) }
