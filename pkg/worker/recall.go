package worker

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// ranking is one recall that is being answered.
type ranking struct {
	v     *service
	req   *api.RecallRequest
	space string
	store *vecstore.Shard
	query vecstore.Query
	// k is how many hits are asked for, behind the given ones of the pages before, the last of which cursor names.
	k, given int
	cursor   *wire.Cursor
	// stable tells that hits of the same score have an order, too.
	stable bool
	decay  decay
}

func (v *service) recall(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	start := time.Now()
	req, err := wire.DecodeRecall(f, body)
	if err == nil {
		err = wire.CheckRecall(req)
	}
	if err == nil {
		err = wire.CheckOneSpace(req)
	}
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	r := &ranking{v: v, req: req, space: space}
	if r.cursor, err = v.cursor(req.GetCursor(), wire.RequestOf(space, req)); err != nil {
		return nil, err
	}
	if r.cursor != nil {
		if r.given = r.cursor.Given; r.cursor.AsOf[v.s.number] != 0 {
			req.AsOf = r.cursor.Position(v.s.number)
		}
	}
	if r.query, err = v.query(space, req); err != nil {
		return nil, err
	}
	if r.query.Filter, err = v.filter(req.GetFilter()); err != nil {
		return nil, err
	}
	asOf, leave, err := v.enter(ctx, space, req)
	if err != nil {
		return nil, err
	}
	defer leave()
	include, _ := wire.ParseInclude(req.GetInclude())
	r.query.OmitVectors = !include.Embedding
	ctx, cancel := context.WithTimeout(ctx, max(searchLimit, time.Duration(req.GetDeadlineMs())*time.Millisecond))
	defer cancel()
	r.query.Context = ctx
	store, m, staleness := v.view()
	if (req.GetPaged() || r.cursor != nil) && asOf == 0 {
		asOf = max(m.applied, 1)
	}
	r.store, r.query.AsOf, r.stable = store, asOf, asOf != 0
	resp := &api.RecallResponse{Applied: v.position(m.applied), StalenessMs: staleness}
	if err := r.answer(header, m, include, resp); err != nil {
		return nil, err
	}
	resp.TookUs = uint64(time.Since(start).Microseconds())
	return wire.EncodeRecall(f, resp)
}

// answer searches and fills in the hits of the page that is asked for.
func (r *ranking) answer(header string, m mark, include wire.Include, resp *api.RecallResponse) *wire.Error {
	k := event.DefaultK
	if r.req.K != nil {
		k = int(r.req.GetK())
	}
	paged := r.req.GetPaged() || r.cursor != nil
	if r.k = k; r.given+k > event.MaxPaged {
		return wire.Errorf(wire.CodeTooLarge, "cursor", "all pages of a recall have up to %d hits; narrow it down with a filter", event.MaxPaged)
	}
	now := r.query.Now
	if r.cursor != nil {
		now = time.Unix(0, r.cursor.Now)
	}
	if half := r.req.GetHalfLifeMs(); half > 0 {
		def, _ := r.store.Definition(r.space)
		r.decay = decay{half: time.Duration(half) * time.Millisecond, now: now, metric: def.Metric}
	}
	want := r.given + k
	if paged {
		want++ // is there another page
	}
	rows, searched, exact, serr := r.ranked(want, m)
	switch {
	case errors.Is(serr, context.Canceled):
		return r.v.stopping()
	case errors.Is(serr, context.DeadlineExceeded):
		return wire.Errorf(wire.CodeDeadline, "", "the search took longer than anybody waits for it")
	case serr != nil && !awaited(header, serr):
		return r.v.readFailed(r.space, r.req, r.cursor != nil, serr)
	}
	rows = r.behind(rows)
	if paged && len(rows) > k {
		rows = rows[:k]
		last := &rows[k-1]
		resp.Next = (&wire.Cursor{
			Request: wire.RequestOf(r.space, r.req), Epoch: r.v.s.w.Topology.Epoch, AsOf: map[int]uint64{r.v.s.number: r.query.AsOf},
			Given: r.given + k, Now: now.UnixNano(), Score: math.Float32bits(last.Score), Sequence: last.Sequence,
		}).Encode()
	}
	rows = rows[:min(len(rows), k)]
	hits, err := r.v.hits(plain(rows), include)
	if err != nil {
		return err
	}
	for i := range hits {
		if r.decay.half > 0 {
			hits[i].Similarity = rows[i].raw
		}
	}
	resp.Hits, resp.Searched, resp.Exact = hits, uint64(searched), exact
	return nil
}

// ranked returns the best rows by the score that the request asks for, best first.
func (r *ranking) ranked(want int, m mark) (rows []ranked, searched int, exact bool, err error) {
	q := r.query
	switch {
	case r.decay.half > 0:
		q.K, q.MinScore = max(4*want, minCandidates), float32(math.Inf(-1))
	case r.stable:
		q.K = want + 1
	default:
		q.K = want
	}
	for {
		res, err := r.v.s.w.search(r.store, r.space, q)
		if err != nil {
			return nil, 0, false, err
		}
		searched += res.Searched
		r.v.s.w.auditor.offer(r.store, r.space, q, m.applied, res.Rows)
		rows, worst := r.rank(res.Rows)
		exhausted := len(res.Rows) < q.K
		settled := r.decay.half == 0 && !r.stable || len(rows) >= want && rows[want-1].Score > worst
		if exhausted || settled || q.K >= maxCandidates {
			return r.enough(rows, want), searched, res.Exact && (exhausted || settled), nil
		}
		q.K = min(4*q.K, maxCandidates)
	}
}

// How many candidates are looked at for the best by age: at least, and at the most.
const (
	minCandidates = 64
	maxCandidates = 4 * event.MaxPaged
)

// ranked is a row, whose Score is the one of the answer, with the one of the metric.
type ranked struct {
	vecstore.Row
	raw float32
}

// rank puts rows in the order of the answer, and returns the best score that a row which is not among them can have.
func (r *ranking) rank(found []vecstore.Row) (rows []ranked, worst float32) {
	worst = float32(math.Inf(-1))
	for _, row := range found {
		c := ranked{row, row.Score}
		worst = row.Score
		if r.decay.half > 0 {
			c.Score = r.decay.score(row.Score, filter.ObservedAt(row.Body))
			worst = r.decay.best(row.Score)
		}
		rows = append(rows, c)
	}
	slices.SortStableFunc(rows, func(a, b ranked) int {
		if c := cmp.Compare(b.Score, a.Score); c != 0 || !r.stable && r.decay.half == 0 {
			return c
		}
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	return rows, worst
}

// enough cuts off what is not wanted, and what is below the least score.
func (r *ranking) enough(rows []ranked, want int) []ranked {
	rows = rows[:min(len(rows), want)]
	for len(rows) > 0 && rows[len(rows)-1].Score < r.query.MinScore {
		rows = rows[:len(rows)-1]
	}
	return rows
}

// behind leaves out what the pages before had.
func (r *ranking) behind(rows []ranked) []ranked {
	if r.cursor == nil {
		return rows
	}
	last := math.Float32frombits(r.cursor.Score)
	return slices.DeleteFunc(rows, func(c ranked) bool {
		return c.Score > last || c.Score == last && c.Sequence <= r.cursor.Sequence
	})
}

func plain(rows []ranked) []vecstore.Row {
	out := make([]vecstore.Row, len(rows))
	for i := range rows {
		out[i] = rows[i].Row
	}
	return out
}

// decay makes what was observed longer ago count less: a similarity that is above 0 by any metric is halved with each half-life
// that has passed since.
type decay struct {
	half   time.Duration
	now    time.Time
	metric vecstore.Metric
}

func (d *decay) score(raw float32, observed int64) float32 {
	age := max(d.now.Sub(time.Unix(0, observed)), 0)
	return float32(d.similarity(raw) * math.Exp2(-float64(age)/float64(d.half)))
}

// best is the score of something that was observed just now.
func (d *decay) best(raw float32) float32 { return float32(d.similarity(raw)) }

func (d *decay) similarity(raw float32) float64 {
	switch x := float64(raw); d.metric {
	case vecstore.Dot:
		return 1 / (1 + math.Exp(-x))
	case vecstore.L2:
		return 1 / (1 - x) // raw is minus the squared distance
	default:
		return max((1+x)/2, 0)
	}
}

func (v *service) query(space string, req *api.RecallRequest) (vecstore.Query, *wire.Error) {
	q := vecstore.Query{ID: req.GetId(), MinScore: float32(math.Inf(-1)), Ef: int(req.GetEf()), Now: time.Now()}
	switch req.GetRecall() {
	case api.RecallTarget_RECALL_TARGET_FAST:
		q.Effort = vecstore.EffortFast
	case api.RecallTarget_RECALL_TARGET_EXACT:
		q.Effort = vecstore.EffortExact
	default:
		q.Effort = vecstore.EffortBalanced
	}
	if req.MinScore != nil {
		q.MinScore = req.GetMinScore()
	}
	if req.GetText() != "" {
		return q, wire.Errorf(wire.CodeUnsupported, "text", "a shard has no embedder; ask %s", bus.RecallSubject(space))
	}
	if req.GetEmbedding() == nil {
		return q, nil
	}
	def, ok := v.s.store.Load().Definition(space)
	packed, err := wire.EmbeddingF32(req.GetEmbedding(), ok && def.Metric == vecstore.Cosine)
	if err != nil {
		return q, err
	}
	q.Vector = event.DecodeF32(make([]float32, 0, len(packed)/4), packed)
	return q, nil
}

// filter returns what the store asks of rows for an expression, nil for none.
func (v *service) filter(source string) (*vecstore.Filter, *wire.Error) {
	if source == "" {
		return nil, nil
	}
	f, err := v.s.w.filters.Compile(source)
	if err != nil {
		return nil, storeError(err)
	}
	return &vecstore.Filter{Key: source, Match: func(row *vecstore.Row) (bool, error) { return f.Match(row.ID, row.Body) }}, nil
}

// cursor reads the cursor of a request, nil where it has none.
func (v *service) cursor(token string, request uint64) (*wire.Cursor, *wire.Error) {
	if token == "" {
		return nil, nil
	}
	c, err := wire.DecodeCursor(token, request, v.s.w.Topology.Epoch)
	if err == nil && c.Position(v.s.number) == "" {
		err = wire.Errorf(wire.CodeInvalidCursor, "cursor", "the cursor is of another shard than %d", v.s.number)
	}
	return c, err
}

// readFailed is unread for a read whose moment may be that of a cursor, or the present one.
func (v *service) readFailed(space string, req reading, cursor bool, err error) *wire.Error {
	switch gone := errors.Is(err, vecstore.ErrGone); {
	case gone && cursor:
		return wire.Errorf(wire.CodeGone, "cursor", "the pages behind this cursor cannot be read any more: what was replaced or forgotten since the first of them is only "+
			"kept for %v (index.keep_versions of the worker); ask for the first page again", v.s.w.Config.Index.KeepVersions)
	case gone && req.GetAsOf() == "":
		return wire.Errorf(wire.CodeUnavailable, "", "space %q was compacted at this very moment; send the request again", space)
	}
	return v.unread(space, req, err)
}
