// Package registry knows the definition of every space: it watches the bucket ENGRAM_SPACES and creates definitions in
// it by compare-and-set, so that two gateways can never accept two dimensions for one space.
package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/puzpuzpuz/xsync/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// Bucket is the name of the key-value bucket that holds a definition under the name of each space, as JSON.
const Bucket = bus.SpacesBucket

// ErrChanged is returned when a definition was changed by somebody else in the meantime.
var ErrChanged = errors.New("the definition of the space was changed at the same moment")

// Entry is a definition and the revision of the bucket that it was read at. It must not be changed.
type Entry struct {
	*api.SpaceDefinition
	Revision uint64
}

// LoggedIn tells whether the log holds the definition in the stream of this creation time.
func (e *Entry) LoggedIn(created int64) bool { return created != 0 && e.GetLoggedStream() == created }

// Living tells whether the space can be written to and read from.
func (e *Entry) Living() bool { return e != nil && !e.GetDropped() }

// Registry is a live copy of the bucket. Its methods may be called concurrently.
type Registry struct {
	kv       jetstream.KeyValue
	entries  *xsync.Map[string, *Entry]
	follower *bus.Follower
}

// Open reads the whole bucket and follows it until Close.
func Open(ctx context.Context, js jetstream.JetStream) (*Registry, error) {
	r := &Registry{entries: xsync.NewMap[string, *Entry]()}
	var err error
	if r.follower, err = bus.FollowBucket(ctx, js, Bucket, r.apply); err != nil {
		return nil, err
	}
	r.kv = r.follower.KV()
	return r, nil
}

// apply takes over what the bucket says. An entry that this version cannot read is left out: its space is unknown here.
func (r *Registry) apply(update jetstream.KeyValueEntry) {
	def := new(api.SpaceDefinition)
	if update.Operation() != jetstream.KeyValuePut || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(update.Value(), def) != nil {
		r.entries.Delete(update.Key())
		return
	}
	r.remember(update.Key(), &Entry{SpaceDefinition: def, Revision: update.Revision()})
}

// remember keeps the newest of what was read and what was written.
func (r *Registry) remember(name string, e *Entry) {
	r.entries.Compute(name, func(old *Entry, ok bool) (*Entry, xsync.ComputeOp) {
		if ok && old.Revision > e.Revision {
			return old, xsync.CancelOp
		}
		return e, xsync.UpdateOp
	})
}

// Get returns what is known of a space here and now; nil when nothing is.
func (r *Registry) Get(name string) *Entry {
	e, _ := r.entries.Load(name)
	return e
}

// All calls fn with every living space until it returns false.
func (r *Registry) All(fn func(*Entry) bool) {
	r.entries.Range(func(_ string, e *Entry) bool { return !e.Living() || fn(e) })
}

// Lookup is Get, but asks the bucket when no living space is known here: another process may have created it just now.
// It returns nil when there is none, and a name that no key can be is an error.
func (r *Registry) Lookup(ctx context.Context, name string) (*Entry, error) {
	if e := r.Get(name); e.Living() {
		return e, nil
	}
	kve, err := r.kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up space %q: %w", name, err)
	}
	r.apply(kve)
	return r.Get(name), nil
}

// Create writes the definition of a space that has none, or whose last generation was dropped; the generation is set.
// When somebody else was faster, it returns theirs.
func (r *Registry) Create(ctx context.Context, def *api.SpaceDefinition) (*Entry, error) {
	old, err := r.Lookup(ctx, def.GetName())
	def = proto.CloneOf(def)
	for err == nil && !old.Living() {
		def.Generation = 1
		var revision uint64
		if old != nil {
			def.Generation = old.GetGeneration() + 1
			revision = old.Revision
		}
		e, perr := r.put(ctx, def, revision)
		if !errors.Is(perr, ErrChanged) {
			return e, perr
		}
		// Somebody else was faster. What they wrote may be dropped again already.
		old, err = r.Reread(ctx, def.GetName())
	}
	return old, err
}

// Update replaces a definition that nobody changed since it was read, or fails with ErrChanged.
func (r *Registry) Update(ctx context.Context, e *Entry, change func(*api.SpaceDefinition)) (*Entry, error) {
	def := proto.CloneOf(e.SpaceDefinition)
	change(def)
	return r.put(ctx, def, e.Revision)
}

func (r *Registry) put(ctx context.Context, def *api.SpaceDefinition, revision uint64) (*Entry, error) {
	b, err := protojson.Marshal(def)
	if err != nil {
		return nil, fmt.Errorf("encoding the definition of space %q: %w", def.GetName(), err)
	}
	if revision == 0 {
		revision, err = r.kv.Create(ctx, def.GetName(), b)
	} else {
		revision, err = r.kv.Update(ctx, def.GetName(), b, revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil, ErrChanged
	}
	if err != nil {
		return nil, fmt.Errorf("writing the definition of space %q: %w", def.GetName(), err)
	}
	e := &Entry{SpaceDefinition: def, Revision: revision}
	r.remember(def.GetName(), e)
	return e, nil
}

// Reread asks the bucket for what it holds under the name of a space that it has held something of.
func (r *Registry) Reread(ctx context.Context, name string) (*Entry, error) {
	kve, err := r.kv.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the definition of space %q again: %w", name, err)
	}
	r.apply(kve)
	e := r.Get(name)
	if e == nil {
		return nil, fmt.Errorf("reading the definition of space %q: what the bucket %s holds under this key is not one", name, Bucket)
	}
	return e, nil
}

// Close stops following the bucket, and waits for that.
func (r *Registry) Close() error {
	r.follower.Close()
	return nil
}
