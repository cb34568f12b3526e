package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// auditor measures what recall finds: it answers a few of the recalls that this worker answered once more, exactly, and
// compares. One goroutine does so, and sleeps a multiple of the time that each took, so that it takes no more than a share
// of one core. Whoever answers a recall only offers it, and never waits.
type auditor struct {
	metrics *metrics.Worker
	share   float64
	every   time.Duration // least time between two samples; 0 where there is no audit
	next    atomic.Int64  // when the next sample may be taken, Unix nanoseconds
	samples chan *sample
}

// maxSamples is how many samples wait. What waits becomes old, and may be gone when its turn comes.
const maxSamples = 4

// sample is a recall and what was answered.
type sample struct {
	store *vecstore.Shard
	space string
	query vecstore.Query // AsOf is the position that the answer was given for
	hits  []hit
	// seen is the highest sequence that the answer may have to do with: in between, more than the position says was
	// searchable already.
	seen uint64
}

type hit struct {
	id       string
	sequence uint64
	score    float32
}

func newAuditor(cfg IndexConfig, m *metrics.Worker) *auditor {
	a := &auditor{metrics: m, share: cfg.AuditShare, samples: make(chan *sample, maxSamples)}
	if cfg.AuditRate > 0 {
		a.every = max(time.Duration(float64(time.Second)/cfg.AuditRate), 1)
	}
	return a
}

// offer takes a recall for an audit if it is time for one. Recalls that ask for what is exact, or for the neighbours of
// an observation, which may have changed since, are not taken.
func (a *auditor) offer(store *vecstore.Shard, space string, q vecstore.Query, applied uint64, rows []vecstore.Row) {
	if a.every == 0 || q.Effort == vecstore.EffortExact || q.Vector == nil || applied == 0 {
		return
	}
	now, next := time.Now().UnixNano(), a.next.Load()
	if now < next || len(a.samples) == cap(a.samples) || !a.next.CompareAndSwap(next, now+int64(a.every)) {
		return
	}
	s := &sample{store: store, space: space, query: q, hits: make([]hit, len(rows)), seen: store.Appended()}
	s.query.Context = nil // it ends with the recall
	if q.AsOf != 0 {
		s.seen = q.AsOf
	} else {
		s.query.AsOf = applied
	}
	for i, r := range rows {
		s.hits[i] = hit{r.ID, r.Sequence, r.Score}
	}
	offer(a.samples, s)
}

// run audits until ctx ends.
func (a *auditor) run(ctx context.Context, search searcher) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-a.samples:
			start := time.Now()
			a.audit(s, search)
			took := time.Since(start)
			a.metrics.AuditSeconds(took.Seconds())
			if !sleep(ctx, time.Duration(float64(took)*(1/a.share-1))) {
				return
			}
		}
	}
}

func (a *auditor) audit(s *sample, search searcher) {
	q := s.query
	q.Effort, q.Ef = vecstore.EffortExact, 0
	truth, err := search(s.store, s.space, q)
	switch {
	case errors.Is(err, vecstore.ErrGone), errors.Is(err, vecstore.ErrUnknownSpace), errors.Is(err, vecstore.ErrClosed):
		a.metrics.AuditDropped(metrics.AuditGone)
		return
	case err != nil || !truth.Exact && !s.onlyCodes():
		a.metrics.AuditDropped(metrics.AuditFailed)
		return
	}
	ratio, ok, err := s.compare(truth.Rows)
	switch {
	case err != nil:
		a.metrics.AuditDropped(metrics.AuditFailed)
	case ok:
		a.metrics.Audited(s.space, ratio)
	}
}

// compare returns which share of the true nearest rows the answer had; ok is false where there is nothing to find.
//
// The truth is that of a position, and the answer may have been given with some of what comes behind it searchable
// already, since spaces run in parallel and priorities overtake. Hits from behind the position had taken places of
// others, and what was replaced behind it may have been hidden: both are left out of the truth.
func (s *sample) compare(truth []vecstore.Row) (ratio float64, ok bool, err error) {
	answered, newer := map[string]bool{}, 0
	for _, h := range s.hits {
		answered[h.id] = true
		if h.sequence > s.query.AsOf {
			newer++
		}
	}
	hidden, err := s.hidden(truth, answered)
	if err != nil {
		return 0, false, err
	}
	truth = slices.DeleteFunc(slices.Clone(truth), func(r vecstore.Row) bool { return hidden[r.ID] })
	truth = truth[:min(len(truth), max(s.query.K-newer, 0))]
	if len(truth) == 0 {
		return 0, false, nil
	}
	found, wanted := 0, map[string]bool{}
	for _, r := range truth {
		wanted[r.ID] = true
		if answered[r.ID] {
			found++
		}
	}
	// Of rows with the score of the last place any is as good as any other.
	for _, h := range s.hits {
		if h.sequence <= s.query.AsOf && !wanted[h.id] && h.score == truth[len(truth)-1].Score {
			found++
		}
	}
	return float64(min(found, len(truth))) / float64(len(truth)), true, nil
}

// hidden returns the ids of the truth that may not have been searchable any more when the answer was given: those of
// which it has a newer version, and those that it has not and that were replaced or forgotten since its position.
func (s *sample) hidden(truth []vecstore.Row, answered map[string]bool) (map[string]bool, error) {
	hidden := map[string]bool{}
	for _, h := range s.hits {
		if h.sequence > s.query.AsOf {
			hidden[h.id] = true
		}
	}
	var missed []string
	for _, r := range truth {
		if !answered[r.ID] {
			missed = append(missed, r.ID)
		}
	}
	if len(missed) == 0 || s.seen <= s.query.AsOf {
		return hidden, nil
	}
	now, err := s.store.Get(s.space, missed, vecstore.At{Now: s.query.Now})
	if err != nil {
		return nil, err
	}
	sequences := map[string]uint64{}
	for _, r := range now {
		sequences[r.ID] = r.Sequence
	}
	for _, id := range missed {
		at, there := sequences[id]
		hidden[id] = !there || at > s.query.AsOf && at <= s.seen
	}
	return hidden, nil
}

// onlyCodes tells whether the space keeps no vectors, so that not even an answer that compared every row says that it is
// exact.
func (s *sample) onlyCodes() bool {
	d, ok := s.store.Definition(s.space)
	return ok && d.Vectors == vecstore.VectorsNone
}
