package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// listing is one list that is being answered.
type listing struct {
	req    *api.ListRequest
	filter *vecstore.Filter
	cursor *wire.Cursor
	walk   vecstore.Walk
	limit  int

	page     []listed
	searched uint64
}

// listed is a row of a page, with when it was observed.
type listed struct {
	vecstore.Row
	time int64
}

func (v *service) list(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	start := time.Now()
	req, err := wire.DecodeList(f, body)
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	l := &listing{req: req, limit: event.DefaultList}
	if req.Limit != nil {
		l.limit = int(req.GetLimit())
	}
	request := wire.RequestOf(space, req)
	if l.cursor, err = v.cursor(req.GetCursor(), request); err != nil {
		return nil, err
	}
	if l.cursor != nil {
		req.AsOf = l.cursor.Position(v.s.number)
	}
	if l.filter, err = v.filter(req.GetFilter()); err != nil {
		return nil, err
	}
	before := uint64(0)
	if req.GetBefore() != "" {
		if before, err = v.sequence("before", req.GetBefore()); err != nil {
			return nil, err
		}
		before = max(before, 1) // 0 would be any
	}
	asOf, leave, err := v.enter(ctx, space, req)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, max(searchLimit, time.Duration(req.GetDeadlineMs())*time.Millisecond))
	defer cancel()
	m, staleness, serr := v.listed(ctx, space, l, before, asOf)
	switch {
	case errors.Is(serr, context.Canceled):
		return nil, v.stopping()
	case errors.Is(serr, context.DeadlineExceeded):
		return nil, wire.Errorf(wire.CodeDeadline, "", "the list took longer than anybody waits for it, after %d observations; narrow it down", l.searched)
	case serr != nil && !awaited(header, serr):
		return nil, v.readFailed(space, req, l.cursor != nil, serr)
	}
	resp := &api.ListResponse{
		Applied: v.position(m.applied), StalenessMs: staleness, Searched: l.searched, Exact: true, More: len(l.page) > l.limit,
	}
	l.page = l.page[:min(len(l.page), l.limit)]
	if resp.GetMore() {
		last := &l.page[len(l.page)-1]
		resp.Next = (&wire.Cursor{
			Request: request, Epoch: v.s.w.Topology.Epoch, AsOf: map[int]uint64{v.s.number: l.walk.At.AsOf}, Time: last.time, Sequence: last.Sequence,
		}).Encode()
	}
	rows := make([]vecstore.Row, len(l.page))
	for i := range l.page {
		rows[i] = l.page[i].Row
	}
	include, _ := wire.ParseInclude(req.GetInclude())
	if resp.Observations, err = v.hits(rows, include); err != nil {
		return nil, err
	}
	resp.TookUs = uint64(time.Since(start).Microseconds())
	return wire.EncodeList(f, resp)
}

// listed fills the page, one more than it is to have where there are more. Where the request does not say as of what, it is
// what was applied a moment ago; should that be reclaimed just now, it is looked at once more.
func (v *service) listed(ctx context.Context, space string, l *listing, before, asOf uint64) (mark, float64, error) {
	for {
		store, m, staleness := v.view()
		l.page, l.searched = nil, 0
		l.walk = vecstore.Walk{Below: before, At: vecstore.At{Now: time.Now(), AsOf: asOf}}
		if asOf == 0 {
			l.walk.At.AsOf = max(m.applied, 1)
		}
		l.bound()
		err := store.Walk(ctx, space, l.walk, l.visit)
		if asOf == 0 && errors.Is(err, vecstore.ErrGone) && v.s.mark.read().applied > m.applied {
			continue
		}
		return m, staleness, err
	}
}

// byTime tells whether the order is that of when things were observed.
func (l *listing) byTime() bool {
	return l.req.GetOrder() == api.ListOrder_LIST_ORDER_LATEST || l.req.GetOrder() == api.ListOrder_LIST_ORDER_EARLIEST
}

// bound has the walk begin behind the page before.
func (l *listing) bound() {
	l.walk.Ascending = l.req.GetOrder() == api.ListOrder_LIST_ORDER_OLDEST
	switch {
	case l.cursor == nil || l.byTime():
	case l.walk.Ascending:
		l.walk.Above = l.cursor.Sequence
	case l.walk.Below == 0 || l.cursor.Sequence < l.walk.Below:
		l.walk.Below = max(l.cursor.Sequence, 1)
	}
}

func (l *listing) visit(row *vecstore.Row, load func() (vecstore.Row, error)) (more bool, err error) {
	l.searched++
	c := listed{time: filter.ObservedAt(row.Body)}
	c.Sequence = row.Sequence
	if l.req.From != nil && c.time < l.req.GetFrom() || l.req.To != nil && c.time >= l.req.GetTo() {
		return true, nil
	}
	if l.byTime() && !l.wants(c) {
		return true, nil
	}
	if l.filter != nil {
		if matches, err := l.filter.Match(row); err != nil || !matches {
			return err == nil, err
		}
	}
	if c.Row, err = load(); err != nil {
		return false, err
	}
	if !l.byTime() {
		l.page = append(l.page, c)
		return len(l.page) <= l.limit, nil
	}
	i, _ := slices.BinarySearchFunc(l.page, c, l.compare)
	l.page = slices.Insert(l.page, i, c)
	l.page = l.page[:min(len(l.page), l.limit+1)]
	return true, nil
}

// wants tells whether a row belongs to the page by what is known so far.
func (l *listing) wants(c listed) bool {
	if l.cursor != nil {
		last := listed{time: l.cursor.Time}
		last.Sequence = l.cursor.Sequence
		if l.compare(c, last) <= 0 {
			return false
		}
	}
	return len(l.page) <= l.limit || l.compare(c, l.page[len(l.page)-1]) < 0
}

// compare is the order by time: of those of one moment the position decides.
func (l *listing) compare(a, b listed) int {
	c := cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.Sequence, b.Sequence))
	if l.req.GetOrder() == api.ListOrder_LIST_ORDER_LATEST {
		return -c
	}
	return c
}
