package recall

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
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
	"github.com/engram-memory/engram/pkg/wire"
)

// proof looks for what was forgotten of a space, and erases it where it is found in the log.
type proof struct {
	r        *Router
	js       jetstream.JetStream
	space    string
	shard    int
	req      *api.ProveRequest
	sequence uint64 // of the forget
	window   time.Duration
	ids      map[string]bool
	resp     *api.ProveResponse
}

// Prove has every copy of a space's shard reclaim what was forgotten, erases the messages of it from the log, and looks for it
// everywhere. The messages of the log are overwritten by the server. Those younger than its duplicate window are waited for:
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
		r: r, js: js, space: space, shard: event.ShardOf(space, r.Topology.Shards), req: req, ids: map[string]bool{}, resp: new(api.ProveResponse),
	}
	for _, id := range req.GetIds() {
		p.ids[id] = true
	}
	ctx, cancel := context.WithTimeout(ctx, wire.ProveLimit(req))
	defer cancel()
	if refused := p.at(ctx); refused != nil {
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
	if err != nil {
		return nil, err
	}
	resp, err := r.Prove(ctx, space, req)
	if err != nil {
		return nil, err
	}
	return wire.EncodeProve(f, resp)
}

// at finds out which sequence the forget has, and for how long write ids are known.
func (p *proof) at(ctx context.Context) *wire.Error {
	stream, err := p.js.Stream(ctx, bus.LogStream(p.shard))
	if err != nil {
		return wire.Errorf(wire.CodeUnavailable, "", "the log cannot be looked into: %v; send the request again", err)
	}
	info := stream.CachedInfo()
	p.window = info.Config.Duplicates
	if p.req.GetPosition() == "" {
		p.sequence = info.State.LastSeq + 1
		p.req.Position = event.Position{Epoch: p.r.Topology.Epoch, Shard: p.shard, Sequence: info.State.LastSeq}.String()
		return nil
	}
	pos, err := event.ParsePosition(p.req.GetPosition())
	switch {
	case err != nil:
		return wire.Errorf(wire.CodeInvalidPosition, "position", "%v", err)
	case pos.Epoch != p.r.Topology.Epoch || pos.Shard != p.shard:
		return wire.Errorf(wire.CodeInvalidPosition, "position", "%q is not a position of the log of space %q", p.req.GetPosition(), p.space)
	}
	p.sequence = pos.Sequence
	return nil
}

func (p *proof) run(ctx context.Context) {
	workers, err := p.r.copies(ctx, p.shard)
	if err == nil && len(workers) == 0 {
		err = errors.New("no worker holds the shard at this moment")
	}
	if err != nil {
		p.failed("store", "shard "+bus.LogStream(p.shard), err)
	}
	if !p.req.GetLookOnly() && len(workers) > 0 {
		p.compact(ctx, workers)
	}
	p.erase(ctx, "log", bus.LogStream(p.shard), bus.LogSubject(p.shard, p.space), func(data []byte) (meant, named bool) { return p.meant(data) })
	p.erase(ctx, "quarantine", bus.QuarantineStream, bus.QuarantineSubject(p.shard), p.quarantined)
	if len(workers) > 0 {
		p.look(ctx, workers)
	}
	p.snapshots(ctx)
}

func (p *proof) failed(place, holder string, err error) {
	p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: place, Holder: holder, Error: wire.Errorf(wire.CodeUnavailable, "", "%v", err).Proto()})
}

// compact has the copies reclaim at once what nobody may read any more.
func (p *proof) compact(ctx context.Context, workers []string) {
	req := &api.CompactRequest{Space: p.space, Erase: true, AtLeast: p.req.GetPosition(), DeadlineMs: p.req.GetDeadlineMs()}
	copies, err := p.r.compactAll(ctx, p.space, p.shard, workers, req)
	if err != nil {
		p.failed("compaction", p.space, err)
	}
	for _, c := range copies {
		if c.GetError() != nil {
			p.resp.Looked = append(p.resp.Looked, &api.Looked{Place: "compaction", Holder: c.GetWorker(), Error: c.GetError()})
		}
	}
}

// meant tells whether an event of the log is an observation that was forgotten, and whether it is a forget that names one.
func (p *proof) meant(data []byte) (meant, named bool) {
	ev := new(api.LogEvent)
	if proto.Unmarshal(data, ev) != nil {
		return p.resembles(data), false
	}
	if o := ev.GetObserve(); o != nil {
		return p.req.GetAll() || p.ids[o.GetId()], false
	}
	return false, slices.ContainsFunc(ev.GetForget().GetIds(), func(id string) bool { return p.ids[id] })
}

// resembles tells whether bytes that are no event, such as what the quarantine has cut off, hold an id as an observation does,
// or what must not be found.
func (p *proof) resembles(data []byte) bool {
	if p.req.GetAll() {
		return true
	}
	for id := range p.ids {
		field := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), id)
		if bytes.Contains(data, field) {
			return true
		}
	}
	return slices.ContainsFunc(p.req.GetTraces(), func(t []byte) bool { return bytes.Contains(data, t) })
}

func (p *proof) quarantined(data []byte) (meant, named bool) {
	q := new(api.QuarantineEvent)
	if proto.Unmarshal(data, q) != nil || q.GetSubject() != bus.LogSubject(p.shard, p.space) {
		return false, false
	}
	pos, err := event.ParsePosition(q.GetPosition())
	if err != nil || pos.Sequence >= p.sequence {
		return false, false
	}
	return p.meant(q.GetData())
}

// message is one of a stream that holds what was forgotten.
type message struct {
	sequence  uint64
	published time.Time
}

// erase looks through the messages of a subject, has the server overwrite those that are meant, and looks once more.
func (p *proof) erase(ctx context.Context, place, stream, subject string, meant func([]byte) (meant, named bool)) {
	found, looked, err := p.scan(ctx, place, stream, subject, meant)
	if err == nil && !p.req.GetLookOnly() && len(found) > 0 {
		if err = p.overwrite(ctx, stream, found); err == nil {
			p.resp.Erased += uint64(len(found))
			_, looked, err = p.scan(ctx, place, stream, subject, meant)
		}
	}
	if err != nil {
		looked.Error = wire.Errorf(wire.CodeUnavailable, "", "%v", err).Proto()
	}
	p.resp.Looked = append(p.resp.Looked, looked)
}

// scan reads all messages of a subject.
func (p *proof) scan(ctx context.Context, place, stream, subject string, meant func([]byte) (bool, bool)) (found []message, looked *api.Looked, err error) {
	looked = &api.Looked{Place: place, Holder: stream}
	consumer, err := p.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return nil, looked, err
	}
	info, err := consumer.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return nil, looked, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, looked, err
	}
	defer messages.Stop()
	forgets := 0
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return found, looked, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return found, looked, err
		}
		looked.Items++
		looked.Bytes += uint64(len(m.Data()))
		is, named := meant(m.Data())
		if named {
			forgets++
		}
		if is && (place != "log" || meta.Sequence.Stream < p.sequence) {
			found = append(found, message{meta.Sequence.Stream, meta.Timestamp})
			looked.Found++
		}
		if meta.NumPending == 0 {
			break
		}
	}
	if forgets > 0 {
		looked.Note = "forgets that name the ids stay, so that a replay forgets the same"
	}
	return found, looked, nil
}

// overwriting is how many messages are erased at the same time.
const overwriting = 8

// overwrite erases messages once the log need not know their write ids any more.
func (p *proof) overwrite(ctx context.Context, name string, found []message) error {
	stream, err := p.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	youngest := slices.MaxFunc(found, func(a, b message) int { return a.published.Compare(b.published) })
	t := time.NewTimer(time.Until(youngest.published.Add(p.window)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return errors.New("the deadline passed while the youngest message is younger than the duplicate window of the log, within which a retry of it must be known; ask again later")
	}
	next := make(chan message)
	var done sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range overwriting {
		done.Go(func() {
			for m := range next {
				err := stream.SecureDeleteMsg(ctx, m.sequence)
				if errors.Is(err, jetstream.ErrMsgNotFound) {
					err = nil
				}
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, m := range found {
		next <- m
	}
	close(next)
	done.Wait()
	return failed
}

// look has every copy look into its files.
func (p *proof) look(ctx context.Context, workers []string) {
	body, err := proto.Marshal(&api.LookRequest{
		Space: p.space, Ids: p.req.GetIds(), All: p.req.GetAll(), Sequence: p.sequence, Traces: p.req.GetTraces(),
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

// snapshots says which snapshots there are. This version makes none; those of another one cannot be looked into.
func (p *proof) snapshots(ctx context.Context) {
	looked := &api.Looked{Place: "snapshots", Holder: "object store", Note: "there are none"}
	names := p.js.StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, "OBJ_ENGRAM") {
			looked.Items++
			looked.Note = ""
			looked.Error = wire.Errorf(wire.CodeUnsupported, "", "%s holds what this version cannot look into; remove it if it is a snapshot from before the forget", name).Proto()
		}
	}
	if err := names.Err(); err != nil {
		looked.Error = wire.Errorf(wire.CodeUnavailable, "", "the streams cannot be listed: %v", err).Proto()
	}
	p.resp.Looked = append(p.resp.Looked, looked)
}
