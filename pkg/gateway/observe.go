package gateway

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// Observe takes the observations of one request to the log of their space. done is called exactly once, on any
// goroutine, and must not block: with an answer that has a result for each observation, or with the refusal of the whole
// request, of which nothing was published then. The request belongs to the gateway until done was called.
func (g *Gateway) Observe(space string, req *api.ObserveRequest, done func(*api.ObserveResponse, *wire.Error)) {
	g.start(&observing{g: g, space: space, req: req, done: done, deadline: g.deadline(time.Now(), req.GetDeadlineMs())})
}

// start takes a request on its way, on a goroutine of its own where that has to wait.
func (g *Gateway) start(r *observing) {
	if r.begin() {
		return
	}
	if err := g.enterSlow(); err != nil {
		r.refuse(err)
		return
	}
	g.work.Go(func() {
		defer g.leaveSlow()
		r.slowly(g.ctx)
	})
}

// begin takes the request on its way, unless it has to wait for the bucket or for an embedder, which a transport's
// goroutine must not; then it returns false.
func (r *observing) begin() (begun bool) {
	if err := r.check(); err != nil {
		r.refuse(err)
		return true
	}
	if err := r.g.early(r.space, len(r.req.GetObservations()), r.high()); err != nil {
		r.refuse(err)
		return true
	}
	entry := r.g.Registry.Get(r.space)
	if entry.Living() && entry.LoggedIn(r.g.streamOf(r.space)) && !r.needsEmbedder(entry) && !r.g.quotas.uncounted(entry) {
		r.encode(entry)
		return true
	}
	return false
}

// slowly is the rare way, by the bucket or an embedder.
func (r *observing) slowly(ctx context.Context) {
	if !r.counted {
		held := session.Held{Memory: r.g.bodies}
		if !held.Grow(proto.Size(r.req)) {
			r.refuse(session.TooMuchRead())
			return
		}
		defer held.Release()
	}
	ctx, cancel := context.WithDeadline(ctx, r.deadline)
	defer cancel()
	entry, err := r.define(ctx)
	if err == nil {
		err = r.embed(ctx, entry)
	}
	if err != nil {
		r.refuse(err)
		return
	}
	if r.g.quotas.uncounted(entry) {
		r.g.count(ctx, entry)
	}
	r.encode(entry)
}

// enterSlow takes one of the places of those that wait for a definition or an embedder; leaveSlow gives it back.
func (g *Gateway) enterSlow() *wire.Error {
	select {
	case g.slow <- struct{}{}:
		return nil
	default:
		err := wire.Errorf(wire.CodeBackpressure, "", "%d requests wait for a definition or an embedder already; send the request again later", maxSlow)
		err.RetryAfter = time.Second
		return err
	}
}

func (g *Gateway) leaveSlow() { <-g.slow }

// observing is one request on its way.
type observing struct {
	g        *Gateway
	space    string
	req      *api.ObserveRequest
	deadline time.Time
	done     func(*api.ObserveResponse, *wire.Error)
	// counted tells that the transport has counted the request's bytes against bodies, and will until the request is answered.
	counted bool
	// dropped, if set, tells that the entries are not to be sent to the log any more.
	dropped func() bool
	// lines, if set, are the numbers of the observations as lines of NDJSON, which their write ids have after the key: which of
	// them go to the log together is another matter, and differs from try to try.
	lines []int
	// embedded are the observations whose embedding was made here, by this definition.
	embedded []int
	by       *registry.Entry
}

func (r *observing) refuse(err *wire.Error) {
	r.g.Metrics.Space(r.g.label(r.space)).Rejected(string(err.Code)).Add(float64(max(len(r.req.GetObservations()), 1)))
	r.done(nil, err)
}

// label is the space's name if there is such a space: what a client made up is not a label.
func (g *Gateway) label(space string) string {
	if g.Registry.Get(space) == nil {
		return metrics.Other
	}
	return space
}

// check refuses what no space could hold.
func (r *observing) check() *wire.Error {
	if err := wire.CheckSpace(r.space); err != nil {
		return err
	}
	if named := r.req.GetSpace(); named != "" && named != r.space {
		return wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", named, r.space)
	}
	obs := r.req.GetObservations()
	if len(obs) == 0 {
		return wire.Errorf(wire.CodeInvalidArgument, "observations", "the request has no observation")
	}
	if len(obs) > event.MaxBatch {
		return wire.Errorf(wire.CodeTooLarge, "observations", "the request has %d observations; it can have up to %d", len(obs), event.MaxBatch)
	}
	if err := wire.CheckIdempotencyKey(r.req.GetIdempotencyKey()); err != nil {
		return err
	}
	if err := wire.CheckAck(r.req.GetAcknowledgement()); err != nil {
		return err
	}
	for i, o := range obs {
		if o.GetSpace() != "" && o.GetSpace() != r.space {
			return r.at(i, wire.Errorf(wire.CodeInvalidSpace, "space", "the observation says space %q, the request space %q", o.GetSpace(), r.space))
		}
		if err := wire.CheckObservation(o); err != nil {
			return r.at(i, err)
		}
		if n := r.writeIDLength(i); o.GetId() == "" && n > event.MaxID {
			return r.at(i, wire.Errorf(wire.CodeInvalidID, "id", "without an id the observation would get its write id, which has %d bytes; "+
				"an id can have up to %d: send one, or a shorter idempotency_key", n, event.MaxID))
		}
		if o.GetEmbedding() == nil && o.GetText() == "" {
			return r.at(i, wire.Errorf(wire.CodeInvalidEmbedding, "embedding", "the observation has neither an embedding nor a text to embed"))
		}
	}
	return nil
}

// at names the observation that an error is about, where there are several.
func (r *observing) at(i int, err *wire.Error) *wire.Error {
	if len(r.req.GetObservations()) == 1 {
		return err
	}
	return err.At("observations[" + strconv.Itoa(i) + "]")
}

func (r *observing) needsEmbedder(entry *registry.Entry) bool {
	for _, o := range r.req.GetObservations() {
		if o.GetEmbedding() == nil {
			// The built-in embedder only computes; every other one waits for somebody.
			e, err := r.g.Embedders.Lookup(entry.GetEmbedder())
			_, builtin := e.(*embed.Lexical)
			return err == nil && !builtin
		}
	}
	return false
}

// embed fills in the embeddings that are missing, or that were made by another definition.
func (r *observing) embed(ctx context.Context, entry *registry.Entry) *wire.Error {
	if r.by != nil && (r.by.GetEmbedder() != entry.GetEmbedder() || r.by.GetDimension() != entry.GetDimension()) {
		for _, i := range r.embedded {
			r.req.Observations[i].Embedding = nil
		}
	}
	var texts []string
	var missing []int
	for i, o := range r.req.GetObservations() {
		if o.GetEmbedding() == nil {
			texts, missing = append(texts, o.GetText()), append(missing, i)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	e, err := r.g.Embedders.Lookup(entry.GetEmbedder())
	if err != nil {
		return wire.NoEmbedder(r.space, entry.GetEmbedder())
	}
	vectors, err := e.Embed(ctx, texts, int(entry.GetDimension()))
	if err != nil {
		return r.embedError(err, entry, missing)
	}
	for j, i := range missing {
		r.req.Observations[i].Embedding = &api.Embedding{Data: event.AppendF32(nil, vectors[j]), Encoding: api.Encoding_ENCODING_F32}
	}
	r.embedded, r.by = missing, entry
	return nil
}

// fits refuses an embedding that the space cannot hold.
func (r *observing) fits(i int, entry *registry.Entry) *wire.Error {
	cosine := entry.GetMetric() == api.Metric_METRIC_COSINE
	data, err := wire.EmbeddingF32(r.req.GetObservations()[i].GetEmbedding(), cosine)
	if err != nil {
		return r.at(i, err)
	}
	if len(data)/4 != int(entry.GetDimension()) {
		return r.at(i, wire.Errorf(wire.CodeWrongDimension, "embedding", "space %q has dimension %d, the embedding has %d",
			r.space, entry.GetDimension(), len(data)/4))
	}
	if err := wire.CheckHeld(data, entry.GetVectors(), cosine); err != nil {
		return r.at(i, err)
	}
	return nil
}

func (r *observing) embedError(err error, entry *registry.Entry, missing []int) *wire.Error {
	var features *embed.NoFeaturesError
	if errors.As(err, &features) && features.Index < len(missing) {
		return r.at(missing[features.Index], wire.Errorf(wire.CodeInvalidEmbedding, "text", "the text has no word or number to make an embedding of"))
	}
	return wire.Errorf(wire.CodeEmbedder, "text", "the embedder %q of space %q failed: %v", entry.GetEmbedder(), r.space, err)
}

// encode makes the entries of the request, asks for admission and hands them to the batcher.
func (r *observing) encode(entry *registry.Entry) {
	if err := r.embed(r.g.ctx, entry); err != nil {
		r.refuse(err)
		return
	}
	now := time.Now().UnixNano()
	obs := r.req.GetObservations()
	shard := event.ShardOf(r.space, r.g.Topology.Shards)
	subject := bus.LogSubject(shard, r.space)
	gr := &group{entries: make([]bus.Entry, len(obs)), deadline: r.deadline, dropped: r.dropped}
	minted := ""
	if r.req.GetIdempotencyKey() == "" {
		minted = nuid.Next()
	}
	high := r.high()
	prefix := r.space + "/"
	if r.dropped != nil {
		// A stream's write ids are its own: nobody else can write under them.
		prefix = r.space + "#stream/"
	}
	for i, o := range obs {
		if err := r.fits(i, entry); err != nil {
			r.refuse(err)
			return
		}
		writeID := r.writeID(i, minted)
		if o.GetId() == "" {
			o.Id = writeID
		}
		o.Space = r.space
		if o.GetObservedAt() == 0 {
			o.ObservedAt = now
		}
		b, merr := proto.Marshal(&api.LogEvent{Event: &api.LogEvent_Observe{Observe: o}})
		if merr != nil {
			r.refuse(r.at(i, wire.Errorf(wire.CodeMalformed, "text", "the observation is not UTF-8 throughout")))
			return
		}
		if limit := r.g.maxEvent(); int64(len(b)) > limit {
			r.refuse(r.at(i, wire.Errorf(wire.CodeTooLarge, "", "the observation has %d bytes; it can have up to %d", len(b), limit)))
			return
		}
		gr.entries[i] = bus.Entry{Subject: subject, ID: prefix + writeID, Data: b}
		gr.bytes += len(b)
	}
	gr.space, gr.high, gr.load = r.space, high, load{space: r.space, n: len(obs), bytes: gr.bytes, high: high}
	if err := r.admit(shard, entry, gr.load); err != nil {
		r.refuse(err)
		return
	}
	gr.done = func(out []bus.Outcome) { r.committed(shard, entry, out) }
	if !r.g.writers[shard].submit(gr) {
		r.g.shards[shard].release(gr.load)
		r.refuse(wire.Errorf(wire.CodeUnavailable, "", "this gateway is stopping; send the request again"))
	}
}

// early refuses what the shard will not take whatever else is found out about it: neither embedded nor encoded, it costs
// those that are taken little.
func (g *Gateway) early(space string, n int, high bool) *wire.Error {
	err := g.shards[event.ShardOf(space, g.Topology.Shards)].refuses(load{space: space, n: n, high: high})
	if err != nil {
		g.press(space, high, err)
	}
	return err
}

// high tells whether all observations of the request have high priority.
func (r *observing) high() bool {
	for _, o := range r.req.GetObservations() {
		if o.GetPriority() != api.Priority_PRIORITY_HIGH {
			return false
		}
	}
	return true
}

// admit asks the quota of the space and then its shard.
func (r *observing) admit(shard int, entry *registry.Entry, l load) *wire.Error {
	if err := r.g.quotas.admit(entry, l, time.Now()); err != nil {
		if err.RetryAfter > 0 {
			r.g.press(r.space, l.high, err)
		}
		return err
	}
	if err := r.g.shards[shard].admit(l); err != nil {
		r.g.quotas.release(entry, l)
		r.g.press(r.space, l.high, err)
		return err
	}
	return nil
}

// maxEvent leaves room for the headers below the 1 MiB that a message of the log may have.
const maxEvent = 1<<20 - eventHeadroom

const eventHeadroom = 4096

// maxEvent is what an event may have on this server.
func (g *Gateway) maxEvent() int64 {
	if limit := g.Conn.MaxPayload(); limit > 0 {
		return min(maxEvent, limit-eventHeadroom)
	}
	return maxEvent // not connected yet
}

// writeID is what all retries of an observation share: `<session>:<sequence>`, the idempotency key, of several with the
// number of the observation or of its line behind it, or a new one. What the log knows it by begins with the space, and with
// `#stream/` where it comes from a stream.
func (r *observing) writeID(i int, minted string) string {
	o := r.req.GetObservations()[i]
	if o.GetSession() != "" {
		return o.GetSession() + ":" + strconv.FormatUint(o.GetSequence(), 10)
	}
	key := r.req.GetIdempotencyKey()
	if key == "" {
		key = minted
	}
	if r.lines != nil && r.req.GetIdempotencyKey() != "" {
		return key + "/" + strconv.Itoa(r.lines[i])
	}
	if len(r.req.GetObservations()) == 1 {
		return key
	}
	return key + "/" + strconv.Itoa(i)
}

// writeIDLength is the length of the write id that the client chose, 0 where one is minted.
func (r *observing) writeIDLength(i int) int {
	if r.req.GetIdempotencyKey() == "" {
		return 0
	}
	return len(r.writeID(i, ""))
}

// committed makes the answer, on the batcher's goroutine.
func (r *observing) committed(shard int, entry *registry.Entry, out []bus.Outcome) {
	obs := r.req.GetObservations()
	resp := &api.ObserveResponse{Results: make([]*api.ObserveResult, len(obs))}
	m := r.g.Metrics.Space(r.space)
	var first, last uint64
	failed := 0
	for i, o := range out {
		result := &api.ObserveResult{Id: obs[i].GetId(), Duplicate: o.Duplicate}
		resp.Results[i] = result
		var e *wire.Error
		switch {
		case o.Err != nil:
			e = logError(o.Err)
		case o.Duplicate && o.Sequence < entry.GetLoggedSequence():
			e = wire.Errorf(wire.CodeConflict, "idempotency_key", "a write with this id was accepted before space %q was dropped, "+
				"and is gone with it; send the observation with another id of the write", r.space)
		}
		if e != nil {
			failed++
			result.Duplicate = false
			result.Error = e.Proto()
			m.Rejected(string(e.Code)).Inc()
			continue
		}
		result.Position = event.Position{Epoch: r.g.Topology.Epoch, Shard: shard, Sequence: o.Sequence}.String()
		last = max(last, o.Sequence)
		if first == 0 || o.Sequence < first {
			first = o.Sequence
		}
		if o.Duplicate {
			continue
		}
		if obs[i].GetPriority() == api.Priority_PRIORITY_HIGH {
			m.High.Inc()
		} else {
			m.Normal.Inc()
		}
	}
	if failed == len(out) {
		r.done(nil, wire.FromProto(resp.Results[0].GetError()))
		return
	}
	if r.req.GetAcknowledgement() != api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE || last == 0 {
		r.done(resp, nil)
		return
	}
	r.g.work.Go(func() {
		refused, late := r.g.await(shard, first, last, r.deadline)
		for i, result := range resp.Results {
			switch {
			case result.Error != nil:
			case late != nil:
				result.Error = late.Proto()
			case refused[out[i].Sequence] != nil:
				result.Error = refused[out[i].Sequence]
			}
			result.Searchable = result.Error == nil
		}
		r.done(resp, nil)
	})
}

// logError says in the contract's words why the log did not take a write.
func logError(err error) *wire.Error {
	switch {
	case errors.Is(err, bus.ErrStorageFull):
		e := wire.Errorf(wire.CodeStorageFull, "", "the log's storage is full; free space on the NATS servers, then send the request again")
		e.RetryAfter = 10 * time.Second
		return e
	case errors.Is(err, nats.ErrMaxPayload):
		return wire.Errorf(wire.CodeTooLarge, "", "the observation is larger than what this NATS server takes in one message")
	case errors.Is(err, errExpired), errors.Is(err, errDropped), errors.Is(err, bus.ErrBusy):
		return wire.Errorf(wire.CodeUnavailable, "", "%v; send the request again", err)
	case errors.Is(err, bus.ErrUnknownOutcome):
		return wire.Errorf(wire.CodeUnavailable, "", "NATS did not confirm the write within the deadline, so it may be in the log or not; "+
			"send the request again with the same session and sequence or idempotency_key")
	}
	return wire.Errorf(wire.CodeInternal, "", "the log refused the write: %v", err)
}
