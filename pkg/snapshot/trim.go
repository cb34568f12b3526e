package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// ErrRefused is wrapped when a log cannot be trimmed, with the reason.
var ErrRefused = errors.New("the log is not trimmed")

// Trimmer removes from logs what is in snapshots. Store, Conn, JetStream and Epoch are required.
type Trimmer struct {
	Store     Store
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	// Epoch is that of the set of logs.
	Epoch string
	// Keep is for how long messages stay in the log, at least, whatever snapshots have. What the log remembers write ids
	// for, and a little more, stays in any case.
	Keep time.Duration
	// Now is what Keep counts back from; zero is the time of the call.
	Now time.Time
	// CutOff names workers that do not count: what they have not read yet may be removed, and they begin with a snapshot.
	CutOff []string
	// Dry only finds out what would be removed.
	Dry bool

	// copies are those that were heard, by shard and worker. They are listened to once for all shards: a copy only gets further.
	copies map[uint32]map[string]*api.ShardStatus
}

// TrimPlan is what is, or would be, removed from one log.
type TrimPlan struct {
	Shard int
	// First is the first sequence that the log had.
	First uint64
	// Through is the last sequence that is removed; below First when nothing is.
	Through uint64
	// Covered is the position of the oldest snapshot that can be used.
	Covered uint64
	// Kept is the first sequence that stays for its age.
	Kept uint64
	// Snapshots is how many snapshots can be used.
	Snapshots int
}

// Messages returns how many sequences are removed; some may have been deleted before.
func (p *TrimPlan) Messages() uint64 { return p.Through + 1 - min(p.First, p.Through+1) }

// slack is how much longer messages stay than the log remembers their write ids: a server that restarts learns them from these
// messages, and clocks differ.
const slack = time.Minute

// hearing is for how long heartbeats are listened to: workers send one at least every second.
const hearing = 2500 * time.Millisecond

// Trim trims the log of a shard below what all snapshots of it cover. The error wraps ErrRefused, and says why, when there is
// no snapshot that can be used or a copy of the shard would be cut off.
func (t *Trimmer) Trim(ctx context.Context, shard int) (TrimPlan, error) {
	plan, src, err := t.plan(ctx, shard)
	if err != nil {
		return plan, fmt.Errorf("trimming the log of shard %d: %w", shard, err)
	}
	if t.Dry || plan.Messages() == 0 {
		return plan, nil
	}
	return plan, bus.TrimLog(ctx, t.JetStream, shard, bus.Trim{StreamCreatedAt: src.CreatedAt, Through: plan.Through, At: time.Now().UTC()})
}

func (t *Trimmer) plan(ctx context.Context, shard int) (plan TrimPlan, src vecstore.Source, err error) {
	stream, err := t.JetStream.Stream(ctx, bus.LogStream(shard))
	if err != nil {
		return plan, src, err
	}
	info := stream.CachedInfo()
	src = vecstore.Source{Epoch: t.Epoch, Shard: uint32(shard), CreatedAt: info.Created.UnixNano()}
	plan.Shard, plan.First = shard, info.State.FirstSeq
	if plan.Covered, plan.Snapshots, err = t.covered(ctx, src); err != nil {
		return plan, src, err
	}
	now := t.Now
	if now.IsZero() {
		now = time.Now()
	}
	if plan.Kept, err = youngerThan(ctx, stream, now.Add(-max(t.Keep, info.Config.Duplicates+slack))); err != nil {
		return plan, src, err
	}
	plan.Through = min(plan.Covered, plan.Kept-1)
	if info.State.Msgs == 0 {
		plan.Through = min(plan.Through, plan.First-1)
	}
	if plan.Messages() == 0 {
		return plan, src, nil
	}
	return plan, src, t.spares(ctx, stream, &plan, src)
}

// covered returns the position of the oldest snapshot that can be used: whose manifest is whole and whose chunks are there.
func (t *Trimmer) covered(ctx context.Context, src vecstore.Source) (position uint64, usable int, err error) {
	blobs, err := t.Store.List(ctx, prefixOf(src))
	if err != nil {
		return 0, 0, err
	}
	var wrong []error
	for _, f := range found(blobs) { // the newest one first
		m, err := Load(ctx, t.Store, f)
		if err == nil {
			err = complete(m, blobs)
		}
		switch {
		case err == nil:
			position = m.Position
			usable++
		case unusable(err):
			wrong = append(wrong, err)
		default:
			return 0, 0, err
		}
	}
	if usable == 0 {
		return 0, 0, errors.Join(fmt.Errorf("%w: %s has no snapshot of it that can be used; take one with engram snapshot", ErrRefused, t.Store), errors.Join(wrong...))
	}
	return position, usable, nil
}

// youngerThan returns the first sequence of a stream that was published at a moment or later, and the one behind the last where
// none was. Sequences are in the order of their times.
func youngerThan(ctx context.Context, stream jetstream.Stream, moment time.Time) (uint64, error) {
	state := stream.CachedInfo().State
	low, high := state.FirstSeq, state.LastSeq+1
	for low < high {
		middle := low + (high-low)/2
		msg, err := stream.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(">"))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // from there on all were deleted
			high = middle
		case err != nil:
			return 0, fmt.Errorf("looking for the first message since %s: %w", moment.UTC().Format(time.RFC3339), err)
		case msg.Time.Before(moment):
			low = msg.Sequence + 1
		default:
			high = middle
		}
	}
	return low, nil
}

// spares refuses what would cut a copy off: one whose heartbeat says that it is not so far, or one that is not heard whose
// consumer is not. What was heard for another shard is enough to allow it, and not to refuse it.
func (t *Trimmer) spares(ctx context.Context, stream jetstream.Stream, plan *TrimPlan, src vecstore.Source) error {
	if t.copies != nil {
		if err := t.cuts(ctx, stream, plan, src); !errors.Is(err, ErrRefused) {
			return err
		}
	}
	if err := t.hear(ctx); err != nil {
		return err
	}
	return t.cuts(ctx, stream, plan, src)
}

// cuts is spares by what was heard.
func (t *Trimmer) cuts(ctx context.Context, stream jetstream.Stream, plan *TrimPlan, src vecstore.Source) error {
	behind := map[string]uint64{}
	for worker, st := range t.copies[uint32(plan.Shard)] {
		behind[worker] = 0 // a copy of another incarnation has nothing of this one
		if st.GetStreamCreatedAt() == src.CreatedAt {
			behind[worker] = min(st.GetDurable(), st.GetApplied())
		}
	}
	consumers := stream.ListConsumers(ctx)
	for c := range consumers.Info() {
		worker, ok := strings.CutPrefix(c.Name, "worker_")
		if _, speaks := behind[worker]; ok && !speaks {
			behind[worker] = c.AckFloor.Stream
		}
	}
	if err := consumers.Err(); err != nil {
		return fmt.Errorf("listing the consumers of %s: %w", bus.LogStream(plan.Shard), err)
	}
	var cut []string
	for worker, position := range behind {
		if position < plan.Through && !slices.Contains(t.CutOff, worker) {
			cut = append(cut, fmt.Sprintf("%s at %d", worker, position))
		}
	}
	if len(cut) == 0 {
		return nil
	}
	slices.Sort(cut)
	return fmt.Errorf("%w: through %d it would cut off %s; wait for them, or let a worker that is gone, or may begin with a snapshot, be cut off",
		ErrRefused, plan.Through, strings.Join(cut, ", "))
}

// hear listens to the workers, for as long as each of them says how far its copies are.
func (t *Trimmer) hear(ctx context.Context) error {
	beats := make(chan *nats.Msg, 1024)
	sub, err := t.Conn.ChanSubscribe(bus.HeartbeatSubject(bus.Any), beats)
	if err != nil {
		return fmt.Errorf("listening to the workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it ends with the connection at the latest
	copies := map[uint32]map[string]*api.ShardStatus{}
	end := time.NewTimer(hearing)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			t.copies = copies
			return nil
		case m := <-beats:
			hb := new(api.Heartbeat)
			worker, ok := bus.WorkerOf(m.Subject)
			if !ok || proto.Unmarshal(m.Data, hb) != nil || hb.GetEpoch() != t.Epoch {
				continue
			}
			for _, s := range hb.GetShards() {
				if copies[s.GetShard()] == nil {
					copies[s.GetShard()] = map[string]*api.ShardStatus{}
				}
				copies[s.GetShard()][worker] = s
			}
		}
	}
}
