package history

import (
	"slices"
	"testing"
	"time"
)

// script writes a history one operation after the other, a millisecond each, on the id "a" of one space.
type script struct {
	h   History
	now time.Duration
}

func (s *script) tick() time.Duration {
	s.now += time.Millisecond
	return s.now
}

func (s *script) write(client int, position uint64, forget bool) *Write {
	w := &Write{
		Number: uint64(len(s.h.Writes) + 1), Client: client, Space: "s", ID: "a", Forget: forget,
		Call: s.tick(), Return: s.tick(), Outcome: Accepted, Position: position,
	}
	s.h.Writes = append(s.h.Writes, w)
	return w
}

func (s *script) observe(client int, position uint64) *Write { return s.write(client, position, false) }
func (s *script) forget(client int, position uint64) *Write  { return s.write(client, position, true) }

// unknown is an observation of which nobody heard again.
func (s *script) unknown(w *Write) *Write {
	w.Outcome, w.Position, w.Return = Unknown, 0, 0
	return w
}

// get reads the id: nothing for version 0.
func (s *script) get(client int, applied, atLeast, version, position uint64) *Answer {
	a := &Answer{
		Client: client, How: "get", Space: "s", Call: s.tick(), Return: s.tick(), Applied: applied, AtLeast: atLeast, Asked: []string{"a"},
	}
	if version > 0 {
		a.Hits = []Hit{{ID: "a", Version: version, Position: position}}
	}
	s.h.Answers = append(s.h.Answers, a)
	return a
}

// recall looks for the id by the vector of a version.
func (s *script) recall(client int, applied, atLeast uint64, wanted Hit, hits ...Hit) *Answer {
	a := s.get(client, applied, atLeast, 0, 0)
	a.How, a.Asked, a.Wanted, a.Hits = "recall", nil, &wanted, hits
	return a
}

func kinds(r *Report) []Kind {
	var all []Kind
	for _, v := range r.Violations {
		all = append(all, v.Kind)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Each kind of violation, in a history that has it and nothing else.
func TestBadHistoriesAreFound(t *testing.T) {
	cases := map[string]struct {
		want Kind
		bad  func(*script)
	}{
		"accepted and not there": {Lost, func(s *script) {
			s.observe(1, 5)
			s.get(2, 5, 0, 0, 0)
		}},
		"accepted and not there at the position waited for": {Lost, func(s *script) {
			s.observe(1, 5)
			s.get(1, 5, 5, 0, 0)
		}},
		"accepted, forgotten, observed again, and not there": {Lost, func(s *script) {
			s.observe(1, 5)
			s.forget(1, 6)
			s.observe(1, 7)
			s.get(2, 9, 0, 0, 0)
		}},
		"not there though the forget was refused": {Lost, func(s *script) {
			s.observe(1, 5)
			s.forget(1, 0).Outcome = Refused
			s.get(2, 9, 0, 0, 0)
		}},
		"not there before the forget is called": {Lost, func(s *script) {
			s.observe(1, 5)
			s.get(2, 9, 0, 0, 0)
			s.forget(1, 10)
		}},
		"not in the list of all": {Lost, func(s *script) {
			s.observe(1, 5)
			a := s.get(2, 9, 0, 0, 0)
			a.Asked, a.Complete = nil, true
		}},
		"not found by its vector": {Lost, func(s *script) {
			s.observe(1, 5)
			s.recall(2, 9, 0, Hit{"a", 1, 5})
		}},
		"of unknown outcome, seen, and gone again": {Lost, func(s *script) {
			s.unknown(s.observe(1, 0))
			s.get(2, 6, 0, 1, 5)
			s.get(2, 6, 0, 0, 0)
		}},
		"twice in a list": {Twice, func(s *script) {
			s.observe(1, 5)
			a := s.get(2, 9, 0, 1, 5)
			a.Hits = append(a.Hits, a.Hits[0])
		}},
		"an acknowledged write at another position": {WrittenTwice, func(s *script) {
			s.observe(1, 5)
			s.get(2, 9, 0, 1, 8)
		}},
		"a write of unknown outcome at two positions": {WrittenTwice, func(s *script) {
			s.unknown(s.observe(1, 0))
			s.get(2, 9, 0, 1, 8)
			s.get(2, 12, 0, 1, 11)
		}},
		"found and never written": {Phantom, func(s *script) {
			s.observe(1, 5)
			s.get(2, 3, 0, 77, 3)
		}},
		"found before it is written": {Phantom, func(s *script) {
			s.get(2, 9, 0, 1, 5)
			s.observe(1, 5)
		}},
		"found under another id": {Phantom, func(s *script) {
			s.observe(1, 5).ID = "b"
			s.get(2, 9, 0, 1, 5)
		}},
		"refused and found": {RefusedSeen, func(s *script) {
			w := s.observe(1, 0)
			w.Outcome = Refused
			s.get(2, 9, 0, 1, 5)
		}},
		"forgotten and found": {Revived, func(s *script) {
			s.observe(1, 5)
			s.forget(1, 6)
			s.get(2, 6, 0, 1, 5)
		}},
		"forgotten and found by its vector": {Revived, func(s *script) {
			s.observe(1, 5)
			s.forget(1, 6)
			s.recall(2, 9, 0, Hit{"a", 1, 5}, Hit{"a", 1, 5})
		}},
		"an older version than applied": {Older, func(s *script) {
			s.observe(1, 5)
			s.observe(2, 6)
			s.get(3, 6, 0, 1, 5)
		}},
		"the lower position wins": {Older, func(s *script) {
			first, second := s.observe(1, 7), s.observe(2, 6) // beside each other
			first.Call, first.Return = second.Call, second.Return
			s.get(3, 9, 0, 2, 6)
		}},
		"an older version than one's own write": {OwnWrite, func(s *script) {
			s.observe(1, 5)
			s.observe(1, 6)
			s.get(1, 6, 6, 1, 5)
		}},
		"an older version than one saw before": {Backwards, func(s *script) {
			s.observe(1, 5)
			s.observe(2, 6)
			s.get(1, 6, 0, 2, 6)
			s.get(1, 6, 6, 1, 5)
		}},
		"an older version than one of unknown outcome that one saw before": {Backwards, func(s *script) {
			s.observe(1, 5)
			s.unknown(s.observe(2, 0))
			s.get(1, 6, 0, 2, 6)
			s.get(1, 6, 6, 1, 5)
		}},
		"claims less than it waited for": {NotAtLeast, func(s *script) {
			s.get(1, 6, 7, 0, 0)
		}},
		"one position for two ids": {SharedPosition, func(s *script) {
			w := s.observe(1, 5)
			s.observe(1, 5).ID = "b"
			w.Call, w.Return = 0, s.now
		}},
		"one position for the forgets of two requests": {SharedPosition, func(s *script) {
			s.forget(1, 5).Request = 1
			w := s.forget(1, 5)
			w.ID, w.Request = "b", 2
		}},
		"below one that had returned before": {Reordered, func(s *script) {
			s.observe(1, 5)
			s.observe(2, 4).ID = "b"
		}},
		"a read at the frontier that lacks what was written": {NotLinearizable, func(s *script) {
			// No position gives it away: the write's own is above all that the answer speaks of.
			s.observe(1, 5)
			s.get(2, 4, 4, 0, 0).Frontier = true
		}},
		"found, not found and found again": {NotLinearizable, func(s *script) {
			s.unknown(s.observe(1, 0))
			s.get(2, 4, 4, 1, 5).Frontier = true
			s.get(2, 4, 4, 0, 0).Frontier = true
		}},
		"not found by its vector at the frontier": {NotLinearizable, func(s *script) {
			s.observe(1, 5)
			s.recall(2, 4, 4, Hit{"a", 1, 5}).Frontier = true
		}},
	}
	covered := map[Kind]bool{}
	for name, tc := range cases {
		var s script
		tc.bad(&s)
		r := Check(&s.h, Options{})
		if got := kinds(r); !slices.Equal(got, []Kind{tc.want}) {
			t.Errorf("%s: found %v, want %s:\n%v", name, got, tc.want, r.Violations)
		}
		if r.Count(tc.want) != 1 {
			t.Errorf("%s counts as %d", name, r.Count(tc.want))
		}
		covered[tc.want] = true
	}
	for _, k := range []Kind{
		Lost, Twice, WrittenTwice, Phantom, RefusedSeen, Revived, Older, OwnWrite, Backwards, NotAtLeast, SharedPosition, Reordered, NotLinearizable,
	} {
		if !covered[k] {
			t.Errorf("no history has a violation that is %q", k)
		}
	}
}

// What looks wrong and is right.
func TestGoodHistoriesPass(t *testing.T) {
	cases := map[string]func(*script){
		"observe, replace, forget, observe": func(s *script) {
			s.observe(1, 5)
			s.get(1, 5, 5, 1, 5).Frontier = true
			s.observe(2, 6)
			s.get(1, 6, 6, 2, 6).Frontier = true
			s.forget(1, 7)
			s.get(2, 7, 7, 0, 0).Frontier = true
			s.observe(1, 8)
			s.get(2, 8, 8, 4, 8).Frontier = true
		},
		"an answer that claims little may have little": func(s *script) {
			s.observe(1, 5)
			s.get(2, 4, 0, 0, 0)
			s.observe(1, 6)
			s.get(2, 5, 0, 1, 5)
		},
		"an answer may have more than it claims": func(s *script) {
			s.observe(1, 5)
			s.observe(1, 6)
			s.get(2, 4, 0, 2, 6)
			s.forget(1, 7)
			s.get(2, 4, 0, 0, 0)
		},
		"a write of unknown outcome is there, or not": func(s *script) {
			s.observe(1, 5)
			s.unknown(s.observe(1, 0))
			s.get(2, 9, 9, 1, 5).Frontier = true
			s.get(2, 10, 10, 2, 10).Frontier = true // it came late
			s.get(2, 10, 10, 2, 10).Frontier = true
		},
		"a forget of unknown outcome, too": func(s *script) {
			s.observe(1, 5)
			s.unknown(s.forget(1, 0))
			s.get(2, 9, 0, 1, 5)
			s.get(2, 10, 0, 0, 0)
		},
		"the later position wins, whoever began first": func(s *script) {
			first, second := s.observe(1, 7), s.observe(2, 6)
			second.Call, second.Return = first.Call, first.Return
			s.get(3, 9, 9, 1, 7).Frontier = true
		},
		"the ids of one forget share a position": func(s *script) {
			s.forget(1, 5).Request = 1
			w := s.forget(1, 5)
			w.ID, w.Request, w.Call = "b", 1, 0
		},
		"what was replaced is not found by its vector": func(s *script) {
			s.observe(1, 5)
			s.observe(1, 6)
			s.recall(2, 6, 6, Hit{"a", 1, 5}, Hit{"a", 2, 6}).Frontier = true
			s.forget(1, 7)
			s.recall(2, 7, 7, Hit{"a", 2, 6}).Frontier = true
		},
		"a list of all has all that is not forgotten": func(s *script) {
			s.observe(1, 5)
			s.observe(1, 6).ID = "b"
			s.forget(1, 7)
			a := s.get(2, 7, 7, 0, 0)
			a.Asked, a.Complete, a.Hits = nil, true, []Hit{{"b", 2, 6}}
		},
		"positions of two shards have nothing to do with each other": func(s *script) {
			s.observe(1, 5)
			w := s.observe(1, 5)
			w.Shard, w.Space = 1, "t"
			w = s.observe(1, 2)
			w.Shard, w.Space = 1, "u"
			w.Call, w.Return = 0, s.now
		},
		"a read that failed says nothing": func(s *script) {
			s.observe(1, 5)
			s.get(2, 0, 5, 0, 0).Error = "deadline"
		},
		"a refused write is not there": func(s *script) {
			s.observe(1, 0).Outcome = Refused
			s.get(2, 9, 9, 0, 0).Frontier = true
		},
	}
	for name, good := range cases {
		var s script
		good(&s)
		if r := Check(&s.h, Options{}); len(r.Violations) > 0 || r.Undecided > 0 {
			t.Errorf("%s: %v, %d undecided", name, r.Violations, r.Undecided)
		}
	}
}

func TestFiguresOfAReport(t *testing.T) {
	var s script
	s.observe(1, 5)
	s.observe(1, 6).Duplicate = true
	s.unknown(s.observe(1, 0)).ID = "b"
	s.observe(1, 0).Outcome = Refused
	s.forget(1, 7)
	s.get(2, 4, 0, 0, 0).Staleness = 3 * time.Second // 5 returned after 2 ms, and this is called after 11
	s.get(2, 7, 0, 0, 0).Staleness = time.Second
	s.get(2, 0, 0, 0, 0).Error = "deadline"
	r := Check(&s.h, Options{})
	want := Report{
		Accepted: 2, Unknown: 1, Refused: 1, Forgets: 1, Duplicates: 1, Answers: 2, Failed: 1, Decided: 2,
		Staleness: 9 * time.Millisecond, SaidStaleness: 3 * time.Second,
	}
	if got := *r; got.Violations != nil || got.Accepted != want.Accepted || got.Unknown != want.Unknown || got.Refused != want.Refused ||
		got.Forgets != want.Forgets || got.Duplicates != want.Duplicates || got.Answers != want.Answers || got.Failed != want.Failed ||
		got.Decided != want.Decided || got.Staleness != want.Staleness || got.SaidStaleness != want.SaidStaleness {
		t.Errorf("the report is %+v, want %+v", got, want)
	}
}

// An id that many clients write at once, none of which hears back, takes longer than a nanosecond to decide: it counts as
// undecided, not as right.
func TestUndecidedIsSaid(t *testing.T) {
	var s script
	for range 12 {
		s.unknown(s.observe(1, 0))
	}
	for range 12 {
		s.get(2, 4, 4, 13, 5).Frontier = true // version 13 was never written
	}
	if r := Check(&s.h, Options{PorcupineTimeout: 1}); r.Undecided != 1 || r.Count(NotLinearizable) != 0 {
		t.Errorf("%d undecided, %d not linearizable", r.Undecided, r.Count(NotLinearizable))
	}
}
