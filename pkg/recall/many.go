package recall

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// maxParallel is how many spaces one recall asks at the same time.
const maxParallel = 16

// Touched returns every space that a recall touches, by name: the one that its subject or path names, or, where that is empty,
// those that the request does, the ones with its prefix looked up. Whoever decides what a principal may see decides about these,
// and hands the same ones to RecallFrom.
func (r *Router) Touched(subject string, req *api.RecallRequest) ([]string, *wire.Error) {
	if subject != "" {
		if err := wire.CheckSpace(subject); err != nil {
			return nil, err
		}
		return []string{subject}, wire.CheckOneSpace(req)
	}
	if err := wire.CheckSpaces(req); err != nil {
		return nil, err
	}
	spaces := slices.Clone(req.GetSpaces())
	switch {
	case req.GetSpace() != "":
		if err := wire.CheckSpace(req.GetSpace()); err != nil {
			return nil, err
		}
		spaces = []string{req.GetSpace()}
	case req.GetPrefix() != "":
		r.Registry.All(func(e *registry.Entry) bool {
			if strings.HasPrefix(e.GetName(), req.GetPrefix()) {
				spaces = append(spaces, e.GetName())
			}
			return true
		})
		switch n := len(spaces); {
		case n == 0:
			return nil, wire.Errorf(wire.CodeUnknownSpace, "prefix", "there is no space whose name begins with %q", req.GetPrefix())
		case n > event.MaxSpaces:
			return nil, wire.Errorf(wire.CodeTooLarge, "prefix", "%d spaces begin with %q; a recall can be from up to %d", n, req.GetPrefix(), event.MaxSpaces)
		}
	}
	slices.Sort(spaces)
	return slices.Compact(spaces), nil
}

// RecallMany recalls from all spaces that a request touches. No space answers from an earlier state than it did in one of the
// answers earlier, of a recall before.
func (r *Router) RecallMany(ctx context.Context, req *api.RecallRequest, earlier ...*api.SpaceAnswer) (*api.RecallResponse, *wire.Error) {
	if err := auth.RequireRecall(ctx, "", req); err != nil {
		return nil, err
	}
	spaces, err := r.Touched("", req)
	if err != nil {
		return nil, err
	}
	return r.RecallFrom(ctx, spaces, req, earlier...)
}

func (r *Router) recallManyBody(ctx context.Context, _ string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeRecall(f, body)
	if err != nil {
		return nil, err
	}
	resp, err := r.RecallMany(ctx, req)
	if err != nil {
		return nil, err
	}
	return wire.EncodeRecall(f, resp)
}

// RecallFrom recalls from several spaces, in all of which who asks must have the role, and merges what they answer by score. One that
// fails is named in the answer with the reason; it is an error where all do, and where scores of theirs cannot be compared. earlier
// is as for RecallMany.
func (r *Router) RecallFrom(ctx context.Context, spaces []string, req *api.RecallRequest, earlier ...*api.SpaceAnswer) (*api.RecallResponse, *wire.Error) {
	if err := auth.Require(ctx, auth.Recall, spaces...); err != nil {
		return nil, err
	}
	m := &merging{r: r, req: req, start: time.Now(), places: make(chan struct{}, maxParallel), floors: map[string]string{}}
	if req.GetAsOf() == "" && req.GetCursor() == "" { // which say themselves what is read
		for _, s := range earlier {
			m.floors[s.GetSpace()] = s.GetApplied()
		}
	}
	if err := wire.CheckRecall(req); err != nil {
		return nil, err
	}
	if err := m.prepare(ctx, spaces); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m.ask(ctx)
	return m.merge()
}

// merging is a recall from several spaces.
type merging struct {
	r       *Router
	req     *api.RecallRequest
	start   time.Time
	now     int64
	cursor  *wire.Cursor
	request uint64
	answers []*answer
	places  chan struct{}
	// floors are positions that the spaces must have applied, beside at_least of the request.
	floors map[string]string
}

// answer is what one of several spaces says.
type answer struct {
	space string
	shard int
	resp  *api.RecallResponse
	err   *wire.Error
}

// prepare finds out about the spaces, and refuses what cannot be answered by all of them together.
func (m *merging) prepare(ctx context.Context, spaces []string) (err *wire.Error) {
	m.now, m.request = m.start.UnixNano(), wire.RequestOf("", m.req)
	if m.req.GetCursor() != "" {
		if m.cursor, err = wire.DecodeCursor(m.req.GetCursor(), m.request, m.r.Topology.Epoch); err != nil {
			return err
		}
		m.now = m.cursor.Now
	}
	var first *registry.Entry
	for _, space := range spaces {
		a := &answer{space: space, shard: event.ShardOf(space, m.r.Topology.Shards)}
		m.answers = append(m.answers, a)
		e, err := m.r.entry(ctx, space)
		if err != nil {
			a.err = err
			continue
		}
		if first == nil {
			first = e
		}
		if err := comparableSpaces(first, e, m.req.GetText() != ""); err != nil {
			return err
		}
		if m.cursor != nil && m.cursor.Position(a.shard) == "" {
			a.err = wire.Errorf(wire.CodeUnavailable, "cursor", "space %q did not answer when the first page was asked for; ask for that again", space)
		}
	}
	for field, position := range map[string]string{"at_least": m.req.GetAtLeast(), "as_of": m.req.GetAsOf()} {
		if err := m.checkPosition(field, position); err != nil {
			return err
		}
	}
	if m.req.GetText() != "" && first != nil {
		m.req, _ = proto.Clone(m.req).(*api.RecallRequest)
		return m.r.embedText(ctx, first, m.req)
	}
	return nil
}

// comparableSpaces tells whether scores of two spaces mean the same.
func comparableSpaces(a, b *registry.Entry, text bool) *wire.Error {
	differ := func(what string, x, y any) *wire.Error {
		return wire.Errorf(wire.CodeIncompatible, "spaces", "space %q has %s %v and space %q %v, so that their scores cannot be compared; recall from them one by one",
			a.GetName(), what, x, b.GetName(), y)
	}
	switch {
	case a.GetDimension() != b.GetDimension():
		return differ("dimension", a.GetDimension(), b.GetDimension())
	case a.GetMetric() != b.GetMetric():
		return differ("metric", wire.MetricName(a.GetMetric()), wire.MetricName(b.GetMetric()))
	case text && a.GetEmbedder() != b.GetEmbedder():
		return differ("embedder", a.GetEmbedder(), b.GetEmbedder())
	}
	return nil
}

// checkPosition refuses a position that says nothing of these spaces. As of one, they must all be in its shard.
func (m *merging) checkPosition(field, position string) *wire.Error {
	if position == "" {
		return nil
	}
	p, err := event.ParsePosition(position)
	if err != nil {
		return wire.Errorf(wire.CodeInvalidPosition, field, "%v", err)
	}
	in := 0
	for _, a := range m.answers {
		if a.shard == p.Shard {
			in++
		}
	}
	switch {
	case in == 0:
		return wire.Errorf(wire.CodeInvalidPosition, field, "%q is a position of shard %d, and none of the spaces is in it", position, p.Shard)
	case field == "as_of" && in < len(m.answers):
		return wire.Errorf(wire.CodeInvalidPosition, field, "%q is a position of shard %d, and not all of the spaces are in it; ask for pages, which are all of the same moment", position, p.Shard)
	}
	return nil
}

// steady tells whether the spaces have to be looked at as of positions, and by one clock.
func (m *merging) steady() bool {
	return m.req.GetPaged() || m.cursor != nil || m.req.GetHalfLifeMs() > 0 && m.req.GetAsOf() == ""
}

// ask asks all spaces. Those of one shard are read as of the same position where that matters: what the first one says.
func (m *merging) ask(ctx context.Context) {
	shards := map[int][]*answer{}
	for _, a := range m.answers {
		if a.err == nil {
			shards[a.shard] = append(shards[a.shard], a)
		}
	}
	var all sync.WaitGroup
	for shard, answers := range shards {
		all.Go(func() {
			asOf := uint64(0)
			if m.cursor != nil {
				asOf = m.cursor.AsOf[shard]
			}
			for m.steady() && asOf == 0 && len(answers) > 0 {
				m.askOne(ctx, answers[0], 0)
				asOf = sequenceOf(answers[0].resp.GetApplied())
				answers = answers[1:]
			}
			for _, a := range answers {
				all.Go(func() { m.askOne(ctx, a, asOf) })
			}
		})
	}
	all.Wait()
}

func (m *merging) askOne(ctx context.Context, a *answer, asOf uint64) {
	select {
	case m.places <- struct{}{}:
		defer func() { <-m.places }()
	case <-ctx.Done():
		a.err = wire.Errorf(wire.CodeDeadline, "", "the deadline passed before space %q was asked", a.space)
		return
	}
	req, _ := proto.Clone(m.req).(*api.RecallRequest)
	req.Space, req.Spaces, req.Prefix, req.Cursor, req.Paged = "", nil, "", "", false
	if sequence := m.req.GetAtLeast(); sequence != "" {
		if p, err := event.ParsePosition(sequence); err != nil || p.Shard != a.shard {
			req.AtLeast = ""
		}
	}
	if floor := m.floors[a.space]; sequenceOf(floor) > sequenceOf(req.GetAtLeast()) {
		req.AtLeast = floor
	}
	if m.steady() {
		req.AsOf = ""
		req.Cursor = m.cursorOf(a, wire.RequestOf(a.space, req), asOf).Encode()
	}
	body, err := proto.Marshal(req)
	if err != nil {
		a.err = wire.Errorf(wire.CodeMalformed, "", "the request is not UTF-8 throughout")
		return
	}
	q := routed{space: a.space, shard: a.shard, verb: bus.VerbRecall, body: body, f: wire.Protobuf}
	b, failed := m.r.read(ctx, q.message(""), wire.Protobuf)
	if a.err = failed; failed != nil {
		return
	}
	resp := new(api.RecallResponse)
	if proto.Unmarshal(b, resp) != nil {
		a.err = wire.Errorf(wire.CodeInternal, "", "the answer of shard %d is not a RecallResponse", a.shard)
		return
	}
	a.resp = resp
}

// cursorOf is the cursor of one of the spaces. Hits of one score are in the order of their spaces, and within one of their
// positions; before the first page there is an infinite score.
func (m *merging) cursorOf(a *answer, request, asOf uint64) *wire.Cursor {
	c := &wire.Cursor{
		Request: request, Epoch: m.r.Topology.Epoch, AsOf: map[int]uint64{a.shard: asOf}, Now: m.now,
		Score: math.Float32bits(float32(math.Inf(1))),
	}
	if m.cursor == nil {
		return c
	}
	c.Given, c.Score = m.cursor.Given, m.cursor.Score
	switch cmp.Compare(a.space, m.cursor.Space) {
	case -1:
		c.Sequence = math.MaxUint64
	case 0:
		c.Sequence = m.cursor.Sequence
	}
	return c
}

// sequenceOf returns the sequence of a position that a shard gave, 0 for none.
func sequenceOf(position string) uint64 {
	p, err := event.ParsePosition(position)
	if err != nil {
		return 0
	}
	return p.Sequence
}

// merge puts the answers together.
func (m *merging) merge() (*api.RecallResponse, *wire.Error) {
	resp := &api.RecallResponse{Exact: true}
	more, answered := false, 0
	asOf := map[int]uint64{}
	for _, a := range m.answers {
		s := &api.SpaceAnswer{
			Space: a.space, Applied: a.resp.GetApplied(), StalenessMs: a.resp.GetStalenessMs(), Searched: a.resp.GetSearched(),
			Exact: a.resp.GetExact(), Error: a.err.Proto(),
		}
		resp.Spaces = append(resp.Spaces, s)
		resp.StalenessMs = max(resp.StalenessMs, s.GetStalenessMs())
		resp.Searched += s.GetSearched()
		resp.Exact = resp.Exact && s.GetExact()
		if a.err != nil {
			continue
		}
		answered++
		more = more || a.resp.GetNext() != ""
		if at := sequenceOf(s.GetApplied()); asOf[a.shard] == 0 || at < asOf[a.shard] {
			asOf[a.shard] = at // the first one of a shard was asked before the others
		}
		for _, h := range a.resp.GetHits() {
			h.Space = a.space
			resp.Hits = append(resp.Hits, h)
		}
	}
	if answered == 0 {
		return nil, m.answers[0].err
	}
	slices.SortStableFunc(resp.Hits, func(a, b *api.Hit) int {
		return cmp.Or(cmp.Compare(b.GetScore(), a.GetScore()), cmp.Compare(a.GetSpace(), b.GetSpace()))
	})
	k := event.DefaultK
	if m.req.K != nil {
		k = int(m.req.GetK())
	}
	if len(resp.Hits) > k {
		resp.Hits, more = resp.Hits[:k], true
	}
	if (m.req.GetPaged() || m.cursor != nil) && more && len(resp.Hits) > 0 {
		last := resp.Hits[len(resp.Hits)-1]
		next := &wire.Cursor{
			Request: m.request, Epoch: m.r.Topology.Epoch, AsOf: asOf, Given: len(resp.Hits), Now: m.now,
			Score: math.Float32bits(last.GetScore()), Space: last.GetSpace(), Sequence: sequenceOf(last.GetPosition()),
		}
		if m.cursor != nil {
			next.AsOf, next.Given = m.cursor.AsOf, next.Given+m.cursor.Given
		}
		resp.Next = next.Encode()
	}
	resp.TookUs = uint64(time.Since(m.start).Microseconds())
	return resp, nil
}
