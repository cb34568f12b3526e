package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nuid"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/test/chaos/history"
)

const (
	// writeWithin is how long a write is tried again: well below client.MaxUncertainty, for which the log knows a retry.
	writeWithin = 30 * time.Second
	// writeTry is one try of it, and writeDeadline what it asks the gateway for.
	writeTry      = 2500 * time.Millisecond
	writeDeadline = 2 * time.Second
)

// writer is one client that writes. Its number says by which transport.
type writer struct {
	l        *Load
	client   int
	random   *rand.Rand
	producer *client.Producer // one in four
	session  *session         // one in four
	reader   *reader          // for what it reads back
}

func (l *Load) writer(number int) *writer {
	return &writer{l: l, client: number, random: l.random(number, 0), reader: l.reader(number)}
}

// run writes until ctx ends.
func (w *writer) run(ctx context.Context) {
	switch w.client % 4 {
	case 2:
		p, err := w.l.end.NATS[w.client%len(w.l.end.NATS)].Producer(client.ProducerConfig{Deadline: writeDeadline})
		if err != nil {
			w.l.failed("making a producer", err)
			return
		}
		w.producer = p
		defer func() {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
			defer cancel()
			if err := p.Close(limited); err != nil {
				w.l.failed("closing a producer", err)
			}
		}()
	case 3:
		w.session = &session{w: w}
		defer w.session.end()
	}
	for Pause(ctx, time.Duration(w.random.ExpFloat64()*float64(w.l.cfg.Pause))) == nil {
		s := w.l.pick(w.random)
		if w.random.IntN(10) == 0 {
			w.forget(s)
			continue
		}
		last := w.observe(s, w.draft(s))
		if last != nil && w.random.IntN(3) == 0 {
			w.reader.readBack(s, last)
		}
	}
}

// pick takes a space: a large one every other time.
func (l *Load) pick(random *rand.Rand) *space {
	if l.cfg.Large > 0 && random.IntN(2) == 0 {
		return l.spaces[random.IntN(l.cfg.Large)]
	}
	return l.spaces[random.IntN(len(l.spaces))]
}

// draft makes up a batch: new ids, and new versions of old ones, each id once.
func (w *writer) draft(s *space) []history.Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[string]bool{}
	var batch []history.Write
	for range 1 + w.random.IntN(6) {
		id := strconv.Itoa(len(s.ids))
		if known := len(s.ids); known > 0 && (known >= s.most || w.random.IntN(3) == 0) {
			id = s.ids[w.random.IntN(known)]
		} else {
			s.ids = append(s.ids, id)
		}
		if used[id] {
			continue
		}
		used[id] = true
		batch = append(batch, history.Write{Number: w.l.number.Add(1), Client: w.client, Space: s.name, Shard: s.shard, ID: id})
	}
	return batch
}

// observe writes a batch, and returns the last observation of it that was accepted.
func (w *writer) observe(s *space, batch []history.Write) (last *history.Write) {
	key, call := nuid.Next(), w.l.now()
	for i := range batch {
		batch[i].Call, batch[i].WriteID = call, key
	}
	w.l.ledger.Write(batch...)
	switch {
	case w.producer != nil:
		w.produce(batch)
	case w.session != nil:
		w.session.observe(batch)
	default:
		w.request(s, key, batch)
	}
	for i := range batch {
		b := &batch[i]
		if b.Outcome != history.Accepted {
			continue
		}
		last = b
		s.accepted(history.Hit{ID: b.ID, Version: b.Number, Position: b.Position}, w.random)
	}
	w.l.ledger.Write(batch...)
	return last
}

func (s *space) accepted(h history.Hit, random *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.versions) < recent {
		s.versions = append(s.versions, h)
		return
	}
	s.versions[random.IntN(recent)] = h
}

// observation is what is sent of a version.
func (l *Load) observation(b *history.Write, random *rand.Rand) *api.Observation {
	o := &api.Observation{Id: b.ID, Embedding: l.vector(b.Number), Text: "v" + strconv.FormatUint(b.Number, 10)}
	if random.IntN(10) == 0 {
		o.Priority = api.Priority_PRIORITY_HIGH
	}
	return o
}

// request writes a batch by one request, over NATS or HTTP.
func (w *writer) request(s *space, key string, batch []history.Write) {
	req := &api.ObserveRequest{IdempotencyKey: key, DeadlineMs: uint32(writeDeadline.Milliseconds())}
	for i := range batch {
		req.Observations = append(req.Observations, w.l.observation(&batch[i], w.random))
	}
	callers, over := w.l.ways.transport(w.client%2 == 1)
	var resp *api.ObserveResponse
	wrote, err := attempt(context.Background(), callers, w.random.IntN(len(callers)), writeWithin, writeTry, func(ctx context.Context, c caller) error {
		r, err := c.Observe(ctx, s.name, req)
		if err != nil {
			return err
		}
		resp = r
		return unwritten(r, len(batch))
	})
	for i := range batch {
		w.settle(&batch[i], "observe over "+over, resp.GetResults(), i, wrote, err)
	}
}

// unwritten is the first error of an answer to so many observations. One that has a position is written, whatever else is said
// of it.
func unwritten(resp *api.ObserveResponse, n int) error {
	if len(resp.GetResults()) != n {
		return fmt.Errorf("%d results for %d observations", len(resp.GetResults()), n)
	}
	for _, r := range resp.GetResults() {
		if e := wire.FromProto(r.GetError()); e != nil && r.GetPosition() == "" {
			return e
		}
	}
	return nil
}

// settle says what became of one observation.
func (w *writer) settle(b *history.Write, how string, results []*api.ObserveResult, i int, wrote bool, err error) {
	b.Return = w.l.now()
	if err == nil {
		b.Duplicate = results[i].GetDuplicate()
		b.Position, err = w.l.sequence(results[i].GetPosition())
	}
	switch {
	case err == nil:
		b.Outcome = history.Accepted
		w.l.saw(b.Shard, b.Position)
		return
	case wrote:
		b.Outcome, b.Return = history.Unknown, 0
	default:
		b.Outcome = history.Refused
	}
	b.Error = err.Error()
	w.l.failed(how, err)
}

// produce hands a batch to the producer, and waits for the results.
func (w *writer) produce(batch []history.Write) {
	ctx, cancel := context.WithTimeout(context.Background(), client.MaxUncertainty)
	defer cancel()
	pending := make([]*client.Pending, len(batch))
	for i := range batch {
		var err error
		if pending[i], err = w.producer.Observe(ctx, batch[i].Space, w.l.observation(&batch[i], w.random)); err != nil {
			w.settle(&batch[i], "handing over to a producer", nil, 0, false, err)
		}
	}
	for i, p := range pending {
		if p == nil {
			continue
		}
		r, err := p.Wait(ctx)
		var e *wire.Error
		w.settle(&batch[i], "observe by a producer", []*api.ObserveResult{r}, 0, !errors.As(err, &e) || !nothingWritten(e), err)
	}
}

// forget takes back up to three ids.
func (w *writer) forget(s *space) {
	s.mu.Lock()
	ids := map[string]bool{}
	for range 1 + w.random.IntN(3) {
		ids[s.ids[w.random.IntN(len(s.ids))]] = true
	}
	s.mu.Unlock()
	key, request, call := nuid.Next(), w.l.request.Add(1), w.l.now()
	req := &api.ForgetRequest{IdempotencyKey: key, DeadlineMs: uint32(writeDeadline.Milliseconds())}
	var batch []history.Write
	for id := range ids {
		req.Ids = append(req.Ids, id)
		batch = append(batch, history.Write{
			Number: w.l.number.Add(1), Request: request, Forget: true, Client: w.client, Space: s.name, Shard: s.shard, ID: id, WriteID: key, Call: call,
		})
	}
	w.l.ledger.Write(batch...)
	callers, over := w.l.ways.transport(w.client%2 == 1)
	var position string
	wrote, err := attempt(context.Background(), callers, w.random.IntN(len(callers)), writeWithin, writeTry, func(ctx context.Context, c caller) error {
		resp, err := c.Forget(ctx, s.name, req)
		if err != nil {
			return err
		}
		position = resp.GetPosition()
		return nil
	})
	for i := range batch {
		w.settle(&batch[i], "forget over "+over, []*api.ObserveResult{{Position: position}}, 0, wrote, err)
	}
	w.l.ledger.Write(batch...)
}

// first makes a space by its first observation.
func (w *writer) first(ctx context.Context, s *space) error {
	for begin := time.Now(); ; {
		if w.observe(s, w.draft(s)) != nil {
			return nil
		}
		if ctx.Err() != nil || time.Since(begin) > setUp {
			return fmt.Errorf("space %s takes no observation; what failed: %v", s.name, w.l.Failures())
		}
	}
}
