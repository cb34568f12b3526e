package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kind is a kind of violation.
type Kind string

// The kinds of violations.
const (
	// Lost is something accepted that a read which must have it does not have.
	Lost Kind = "lost"
	// Twice is an id that one answer has twice.
	Twice Kind = "twice in an answer"
	// WrittenTwice is a write that stands in the log at two positions.
	WrittenTwice Kind = "written twice"
	// Phantom is something found that nobody wrote, or that was found before it was written.
	Phantom Kind = "never written"
	// RefusedSeen is something found that was refused.
	RefusedSeen Kind = "refused, and found"
	// Revived is something found though it was forgotten at or below the position that the answer has or waited for.
	Revived Kind = "forgotten, and found"
	// Older is a version found in the place of a newer one at or below the position that the answer claims.
	Older Kind = "older than the answer claims"
	// OwnWrite is a read that waited for its client's own write and found an older version.
	OwnWrite Kind = "own write not read"
	// Backwards is a read that waited for what an earlier read had seen and found an older version.
	Backwards Kind = "went backwards"
	// NotAtLeast is an answer that claims less than what it was to wait for.
	NotAtLeast Kind = "claims less than was waited for"
	// SharedPosition is a position that two writes were acknowledged with.
	SharedPosition Kind = "one position for two writes"
	// Reordered is a write at a lower position than one that had returned before it was called.
	Reordered Kind = "written before an earlier one"
	// NotLinearizable is an id whose writes and reads at the frontier have no order that explains them.
	NotLinearizable Kind = "not linearizable"
)

// Violation is one thing that must not be.
type Violation struct {
	Kind      Kind
	Space, ID string // the id is empty where it is not about one
	Detail    string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s in %s: %s", v.Kind, v.ID, v.Space, v.Detail)
}

// Options are what a check allows.
type Options struct {
	// PorcupineTimeout bounds the search for an order of the operations on one id; 10 s where it is 0. An id for which
	// that is not enough counts as undecided.
	PorcupineTimeout time.Duration
}

// Report is what a history says.
type Report struct {
	Accepted, Refused, Unknown int // writes of observations
	Forgets                    int // accepted ones, each id by itself
	Duplicates                 int // acknowledgements that said that an earlier try had been accepted
	Answers, Failed            int // reads that were answered, and that were not within their deadline
	Decided, Undecided         int // ids whose linearizability was decided, and was not
	// Staleness is the longest that an accepted write was missing from what an answer claims, by the clients' clock.
	Staleness time.Duration
	// SaidStaleness is the longest that an answer itself spoke of.
	SaidStaleness time.Duration
	Violations    []Violation
}

// Count is how many ids, or where there is no id how many cases, have a violation of one of the kinds.
func (r *Report) Count(kinds ...Kind) int {
	seen := map[[2]string]bool{}
	n := 0
	for _, v := range r.Violations {
		if !slices.Contains(kinds, v.Kind) {
			continue
		}
		key := [2]string{v.Space, v.ID}
		if v.ID == "" || !seen[key] {
			n++
		}
		seen[key] = true
	}
	return n
}

// identity names an observation.
type identity struct{ space, id string }

// checker has a history by what its rules ask for.
type checker struct {
	h        *History
	versions map[uint64]*Write   // observations, by version
	seen     map[uint64]uint64   // where a version was found, by version
	of       map[identity]*story // what happened to each id
	report   *Report
}

// story is what the history has of one id.
type story struct {
	placed   []*Write // accepted, and those of unknown outcome that were found: by position
	unplaced []*Write // of unknown outcome, and never found
}

// Check looks at a whole history.
func Check(h *History, opt Options) *Report {
	c := &checker{h: h, versions: map[uint64]*Write{}, seen: map[uint64]uint64{}, of: map[identity]*story{}, report: &Report{}}
	c.count()
	c.place()
	c.writes()
	for _, a := range h.Answers {
		if a.Error == "" {
			c.answer(a)
		}
	}
	c.linearizable(opt)
	c.staleness()
	slices.SortStableFunc(c.report.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Space, b.Space), cmp.Compare(a.ID, b.ID))
	})
	return c.report
}

func (c *checker) violate(k Kind, space, id, format string, args ...any) {
	c.report.Violations = append(c.report.Violations, Violation{Kind: k, Space: space, ID: id, Detail: fmt.Sprintf(format, args...)})
}

func (c *checker) count() {
	r := c.report
	for _, w := range c.h.Writes {
		switch {
		case w.Forget && w.Outcome == Accepted:
			r.Forgets++
		case w.Forget:
		case w.Outcome == Accepted:
			r.Accepted++
		case w.Outcome == Refused:
			r.Refused++
		default:
			r.Unknown++
		}
		if w.Duplicate {
			r.Duplicates++
		}
	}
	for _, a := range c.h.Answers {
		if a.Error != "" {
			r.Failed++
			continue
		}
		r.Answers++
		r.SaidStaleness = max(r.SaidStaleness, a.Staleness)
	}
}

// place finds out where each write stands: by its acknowledgement, or by having been found.
func (c *checker) place() {
	for _, w := range c.h.Writes {
		if !w.Forget {
			c.versions[w.Number] = w
		}
	}
	for _, a := range c.h.Answers {
		for _, h := range a.Hits {
			if _, known := c.seen[h.Version]; !known {
				c.seen[h.Version] = h.Position
			}
		}
	}
	for _, w := range c.h.Writes {
		s := c.story(w.Space, w.ID)
		switch at, found := c.seen[w.Number]; {
		case w.Outcome == Accepted:
			s.placed = append(s.placed, w)
		case w.Outcome == Unknown && found && !w.Forget:
			placed := *w
			placed.Position = at
			s.placed = append(s.placed, &placed)
		case w.Outcome == Unknown:
			s.unplaced = append(s.unplaced, w)
		}
	}
	for _, s := range c.of {
		slices.SortFunc(s.placed, func(a, b *Write) int { return cmp.Compare(a.Position, b.Position) })
	}
}

func (c *checker) story(space, id string) *story {
	key := identity{space, id}
	s := c.of[key]
	if s == nil {
		s = &story{}
		c.of[key] = s
	}
	return s
}
