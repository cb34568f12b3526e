package recall

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/wire"
)

// proof looks for what was forgotten of a space, and erases it where it is found in the log.
type proof struct {
	r      *Router
	js     jetstream.JetStream
	space  string
	shard  int
	req    *api.ProveRequest
	last   uint64 // sequence up to which the log is looked into
	window time.Duration
	// forgotten is by id the sequence below which it was forgotten, as far as last; dropped is that for the whole space.
	forgotten map[string]uint64
	dropped   uint64
	// filter is that of the forget at the position of the request, if it stands there.
	filter *filter.Filter
	// keep has nothing erased.
	keep bool
	resp *api.ProveResponse
}

// Prove has every copy of a space's shard reclaim what was forgotten, erases the messages of it from the log, and looks for it
// everywhere. What no forget in the log means is refused, and nothing is erased then. The messages of the log are overwritten by the server. Those younger than its duplicate window are waited for:
// a server that restarts learns the write ids that it must know from them.
func (r *Router) Prove(ctx context.Context, space string, req *api.ProveRequest) (*api.ProveResponse, *wire.Error) {
	if err := wire.CheckSpace(space); err != nil {
		return nil, err
	}
	if req.GetSpace() != "" && req.GetSpace() != space {
		return nil, wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", req.GetSpace(), space)
	}
	js, err := jetstream.New(r.Conn)
	if err != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "preparing to look into the log: %v", err)
	}
	p := &proof{
		r: r, js: js, space: space, shard: event.ShardOf(space, r.Topology.Shards), req: req, keep: req.GetLookOnly(),
		forgotten: map[string]uint64{}, resp: new(api.ProveResponse),
	}
	for _, id := range req.GetIds() {
		p.forgotten[id] = 0
	}
	ctx, cancel := context.WithTimeout(ctx, wire.ProveLimit(req))
	defer cancel()
	refused := p.at(ctx)
	if refused == nil {
		refused = p.forgets(ctx)
	}
	if refused != nil {
		return nil, refused
	}
	p.run(ctx)
	p.resp.Proven = !slices.ContainsFunc(p.resp.GetLooked(), func(l *api.Looked) bool { return l.GetFound() > 0 || l.GetError() != nil })
	return p.resp, nil
}

func (r *Router) proveBody(ctx context.Context, space string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeProve(f, body)
	if err == nil {
		err = auth.Require(ctx, auth.Admin, space, req.GetSpace())
	}
	if err == nil && !req.GetLookOnly() {
		err = auth.Require(ctx, auth.Forget, space, req.GetSpace())
	}
	if err != nil {
		return nil, err
	}
	resp, err := r.Prove(ctx, space, req)
	if err != nil {
		return nil, err
	}
	return wire.EncodeProve(f, resp)
}

// at finds out how far the log is looked into, and for how long write ids are known.
func (p *proof) at(ctx context.Context) *wire.Error {
	stream, err := p.js.Stream(ctx, bus.LogStream(p.shard))
	if err != nil {
		return unread(err)
	}
	info := stream.CachedInfo()
	p.window = info.Config.Duplicates
	end := event.Position{Epoch: p.r.Topology.Epoch, Shard: p.shard, Sequence: info.State.LastSeq}
	if p.req.GetPosition() == "" {
		p.last = end.Sequence
		p.req.Position = end.String()
		return nil
	}
	pos, err := event.ParsePosition(p.req.GetPosition())
	switch {
	case err != nil:
		return wire.Errorf(wire.CodeInvalidPosition, "position", "%v", err)
	case pos.Epoch != p.r.Topology.Epoch || pos.Shard != p.shard:
		return wire.Errorf(wire.CodeInvalidPosition, "position", "%q is not a position of the log of space %q", p.req.GetPosition(), p.space)
	case pos.Sequence > end.Sequence:
		return wire.Errorf(wire.CodeInvalidPosition, "position", "%q is behind the end of the log, %s", p.req.GetPosition(), end)
	}
	p.last = pos.Sequence
	return p.forgetAt(ctx)
}

func unread(err error) *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "the log cannot be looked into: %v; send the request again", err)
}

// forgetAt reads the filter of a forget at the position of the request.
func (p *proof) forgetAt(ctx context.Context) *wire.Error {
	source := ""
	err := p.read(ctx, bus.LogStream(p.shard), bus.LogSubject(p.shard, p.space), p.last, p.last, func(m message, data []byte) {
		if ev := new(api.LogEvent); m.sequence == p.last && proto.Unmarshal(data, ev) == nil {
			source = ev.GetForgetMatching().GetFilter()
		}
	})
	if err != nil {
		return unread(err)
	}
	if source == "" {
		return nil
	}
	c, err := filter.NewCompiler()
	if err == nil {
		p.filter, err = c.Compile(source)
	}
	if err != nil {
		return wire.Errorf(wire.CodeConflict, "position", "the filter of the forget at %s, %v", p.req.GetPosition(), err)
	}
	return nil
}

// forgets finds out below which sequence each id, or the space, was forgotten, and refuses what was not.
func (p *proof) forgets(ctx context.Context) *wire.Error {
	void, err := p.void(ctx)
	if err != nil {
		return unread(err)
	}
	f := finder{p: p, void: void, matches: map[string]bool{}}
	if err := p.read(ctx, bus.LogStream(p.shard), bus.LogSubject(p.shard, p.space), 0, p.last, f.read); err != nil {
		return unread(err)
	}
	if f.failed != nil {
		return f.failed
	}
	if p.req.GetAll() && p.dropped == 0 {
		if !p.req.GetLookOnly() {
			return wire.Errorf(wire.CodeConflict, "all", "space %q was never forgotten as a whole up to %s; nothing was erased", p.space, p.req.GetPosition())
		}
		p.dropped = p.last + 1
	}
	for _, id := range p.req.GetIds() {
		p.forgotten[id] = max(p.forgotten[id], p.dropped)
		if p.forgotten[id] > 0 {
			continue
		}
		if !p.req.GetLookOnly() {
			return wire.Errorf(wire.CodeConflict, "ids", "no forget in the log of space %q up to %s means %q; nothing was erased. Of a forget by filter give the position",
				p.space, p.req.GetPosition(), id)
		}
		p.forgotten[id] = p.last + 1
	}
	return nil
}

// void returns the sequences of the space's events that stand in the quarantine, and mean nothing.
func (p *proof) void(ctx context.Context) (map[uint64]bool, error) {
	void := map[uint64]bool{}
	stream, err := p.js.Stream(ctx, bus.QuarantineStream)
	if err != nil {
		return nil, err
	}
	err = p.read(ctx, bus.QuarantineStream, bus.QuarantineSubject(p.shard), 0, stream.CachedInfo().State.LastSeq, func(_ message, data []byte) {
		if sequence, _, ok := p.quarantined(data); ok {
			void[sequence] = true
		}
	})
	return void, err
}

// finder reads the log of a space for what forgets something of it.
type finder struct {
	p          *proof
	void       map[uint64]bool
	generation uint32
	// matches tells of the ids that stand in the log, and are not forgotten, whether the filter means them.
	matches map[string]bool
	failed  *wire.Error
}

func (f *finder) read(m message, data []byte) {
	p, ev := f.p, new(api.LogEvent)
	if f.void[m.sequence] || proto.Unmarshal(data, ev) != nil {
		return
	}
	switch e := ev.GetEvent().(type) {
	case *api.LogEvent_Define:
		f.generation = max(f.generation, e.Define.GetGeneration())
	case *api.LogEvent_Observe:
		if _, asked := p.forgotten[e.Observe.GetId()]; asked && p.filter != nil {
			f.match(e.Observe)
		}
	case *api.LogEvent_Forget:
		for _, id := range e.Forget.GetIds() {
			if _, asked := p.forgotten[id]; asked {
				p.forgotten[id] = m.sequence
				delete(f.matches, id)
			}
		}
	case *api.LogEvent_ForgetMatching:
		if m.sequence != p.last || p.filter == nil {
			return
		}
		for id := range p.forgotten {
			if matches, stands := f.matches[id]; matches || !stands {
				p.forgotten[id] = m.sequence
			}
		}
	case *api.LogEvent_Drop:
		// One of a life of the name that is over ends nothing.
		if e.Drop.GetGeneration() >= f.generation {
			p.dropped = m.sequence
			clear(f.matches)
		}
	}
}

// match asks the filter of an observation as the store keeps it.
func (f *finder) match(o *api.Observation) {
	id := o.GetId()
	o.Id, o.Space, o.Embedding = "", "", nil
	body, err := proto.Marshal(o)
	if err == nil {
		f.matches[id], err = f.p.filter.Match(id, body)
	}
	if err != nil {
		f.failed = wire.Errorf(wire.CodeConflict, "position", "the filter of the forget at %s, %v", f.p.req.GetPosition(), err)
	}
}

func (p *proof) run(ctx context.Context) {
	workers, err := p.r.copies(ctx, p.shard)
	if err == nil && len(workers) == 0 {
		err = errors.New("no worker holds the shard at this moment")
	}
	if err != nil {
		p.failed("store", "shard "+bus.LogStream(p.shard), err)
	}
	applied := false
	if !p.keep && len(workers) > 0 {
		applied = p.compact(ctx, workers)
	}
	if err := p.stands(ctx, applied); err != nil {
		p.keep = true
		p.failed("log", bus.LogStream(p.shard), err)
	}
	p.erase(ctx, "log", bus.LogStream(p.shard), bus.LogSubject(p.shard, p.space))
	p.erase(ctx, "quarantine", bus.QuarantineStream, bus.QuarantineSubject(p.shard))
	if len(workers) > 0 {
		p.look(ctx, workers)
	}
	p.snapshots(ctx)
}

// stands tells why a forget by filter may have forgotten nothing: it stands in the quarantine where it costs too much, which the
// copies know once they have come to it.
func (p *proof) stands(ctx context.Context, applied bool) error {
	switch {
	case p.keep || p.filter == nil:
		return nil
	case !applied:
		return errors.New("no copy has said that it has applied the forget by filter, without which nothing is erased; ask again later")
	}
	void, err := p.void(ctx)
	if err == nil && void[p.last] {
		err = errors.New("the forget by filter stands in the quarantine and has forgotten nothing; nothing was erased")
	}
	return err
}

func (p *proof) failed(place, holder string, err error) {
	p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: place, Holder: holder, Error: problem(err).Proto()})
}

func problem(err error) *wire.Error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return unsent(err)
	}
	return wire.Errorf(wire.CodeUnavailable, "", "%v", err)
}

// compact has the copies reclaim at once what nobody may read any more, and tells whether one has.
func (p *proof) compact(ctx context.Context, workers []string) (applied bool) {
	req := &api.CompactRequest{Space: p.space, Erase: true, AtLeast: p.req.GetPosition(), DeadlineMs: p.req.GetDeadlineMs()}
	copies, err := p.r.compactAll(ctx, p.space, p.shard, workers, req)
	if err != nil {
		p.failed("compaction", p.space, err)
	}
	for _, c := range copies {
		if c.GetError() != nil {
			p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: "compaction", Holder: c.GetWorker(), Error: c.GetError()})
		} else {
			applied = true
		}
	}
	return applied
}

// below returns the sequence below which an id was forgotten; 0 for one that is not asked about.
func (p *proof) below(id string) uint64 {
	if p.req.GetAll() {
		return p.dropped
	}
	return p.forgotten[id]
}

// sequence is that of the last of the forgets.
func (p *proof) sequence() uint64 {
	last := uint64(0)
	for id := range p.forgotten {
		last = max(last, p.below(id))
	}
	return max(last, p.below(""))
}

// meant tells whether the event at a sequence of the log is an observation that was forgotten, and whether it is a forget that
// names one.
func (p *proof) meant(sequence uint64, data []byte) (meant, named bool) {
	ev := new(api.LogEvent)
	if proto.Unmarshal(data, ev) != nil {
		return p.resembles(sequence, data), false
	}
	if o := ev.GetObserve(); o != nil {
		return sequence < p.below(o.GetId()), false
	}
	return false, slices.ContainsFunc(ev.GetForget().GetIds(), func(id string) bool { return p.forgotten[id] > 0 })
}

// resembles tells whether bytes that are no event, such as what the quarantine has cut off, hold an id as an observation does,
// or what must not be found.
func (p *proof) resembles(sequence uint64, data []byte) bool {
	if p.req.GetAll() {
		return sequence < p.dropped
	}
	for id, below := range p.forgotten {
		field := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), id)
		if sequence < below && bytes.Contains(data, field) {
			return true
		}
	}
	return sequence < p.sequence() && slices.ContainsFunc(p.req.GetTraces(), func(t []byte) bool { return bytes.Contains(data, t) })
}

// quarantined returns an event of the space that stands in the quarantine, and its sequence in the log.
func (p *proof) quarantined(body []byte) (sequence uint64, data []byte, ok bool) {
	q := new(api.QuarantineEvent)
	if proto.Unmarshal(body, q) != nil || q.GetSubject() != bus.LogSubject(p.shard, p.space) {
		return 0, nil, false
	}
	pos, err := event.ParsePosition(q.GetPosition())
	if err != nil || pos.Epoch != p.r.Topology.Epoch {
		return 0, nil, false
	}
	return pos.Sequence, q.GetData(), true
}

// look has every copy look into its files.
func (p *proof) look(ctx context.Context, workers []string) {
	body, err := proto.Marshal(&api.LookRequest{
		Space: p.space, Ids: p.req.GetIds(), All: p.req.GetAll(), Sequence: p.sequence(), Traces: p.req.GetTraces(),
		DeadlineMs: uint32(wire.ProveLimit(p.req).Milliseconds()),
	})
	if err != nil {
		p.failed("store", p.space, err)
		return
	}
	q := routed{space: p.space, shard: p.shard, verb: bus.VerbLook, body: body, f: wire.Protobuf}
	heard := map[string]bool{}
	answers := 0
	err = p.r.gather(ctx, q.message(""), func(m *nats.Msg) bool {
		resp := new(api.LookResponse)
		if m.Header.Get(micro.ErrorCodeHeader) != "" {
			resp.Looked = []*api.Looked{{Place: "store", Error: wire.DecodeError(wire.Protobuf, m.Data).Proto()}}
		} else if err := proto.Unmarshal(m.Data, resp); err != nil {
			resp.Looked = []*api.Looked{{Place: "store", Error: wire.Errorf(wire.CodeInternal, "", "the answer of a worker is not a LookResponse").Proto()}}
		}
		answers++
		for _, l := range resp.GetLooked() {
			heard[l.GetHolder()] = true
		}
		p.resp.Looked = append(p.resp.Looked, resp.GetLooked()...)
		return answers < len(workers)
	})
	if err != nil {
		p.failed("store", p.space, err)
	}
	for _, w := range workers {
		if answers < len(workers) && !heard[w] {
			p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: "store", Holder: w, Error: silent(ctx, w).Proto()})
		}
	}
}

// empty tells whether a stream has no messages.
func (p *proof) empty(ctx context.Context, stream string) bool {
	s, err := p.js.Stream(ctx, stream)
	return err == nil && s.CachedInfo().State.Msgs == 0
}

// snapshots looks into the snapshots in the object store. Workers look into those that are elsewhere.
func (p *proof) snapshots(ctx context.Context) {
	looked := &api.Looked{Place: "snapshots", Holder: bus.SnapshotsBucket, Note: "there are none"}
	names := p.js.StreamNames(ctx)
	for name := range names.Name() {
		switch {
		case !strings.HasPrefix(name, "OBJ_ENGRAM") || p.empty(ctx, name):
		case name == bus.SnapshotsStream:
			looked = p.lookInBucket(ctx)
		default:
			p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: "snapshots", Holder: name, Items: 1, Error: wire.Errorf(wire.CodeUnsupported, "",
				"%s holds what this version cannot look into; remove it if it is a snapshot from before the forget", name).Proto()})
		}
	}
	if err := names.Err(); err != nil {
		looked.Error = wire.Errorf(wire.CodeUnavailable, "", "the streams cannot be listed: %v", err).Proto()
	}
	p.resp.Looked = append(p.resp.Looked, looked)
}

// lookInBucket reads the shard's snapshots in the object store.
func (p *proof) lookInBucket(ctx context.Context) *api.Looked {
	var seen snapshot.Seen
	id, _, _, err := bus.StreamIdentity(ctx, p.js, p.shard)
	if err == nil {
		var store *snapshot.Bucket
		if store, err = snapshot.NewBucket(ctx, p.js); err == nil {
			seen, err = snapshot.Look(ctx, store, snapshot.Sought{
				Epoch: p.r.Topology.Epoch, Shard: uint32(p.shard), CreatedAt: id.CreatedAt.UnixNano(),
				Space: p.space, IDs: p.req.GetIds(), All: p.req.GetAll(), Sequence: p.sequence(),
			}, nil)
		}
	}
	return seen.Looked(bus.SnapshotsBucket, err)
}
