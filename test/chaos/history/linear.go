package history

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// step is what porcupine is told of one operation on one id.
type step struct {
	write   bool
	version uint64 // written, 0 for a forget; or read
	not     bool   // the read did not find the version
}

// register is an id with one version at a time, 0 where it is not there.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, _ any) (bool, any) {
			now, s := state.(uint64), input.(step)
			if s.write {
				return true, s.version
			}
			return (now == s.version) != s.not, now
		},
	}
}

// linearizable asks of each id whether its writes, and its reads at the frontier, have an order. It knows nothing of
// positions, and so is a second opinion on what the rules say of them.
func (c *checker) linearizable(opt Options) {
	within := opt.PorcupineTimeout
	if within == 0 {
		within = 10 * time.Second
	}
	operations := c.operations()
	keys := slices.SortedFunc(maps.Keys(operations), func(a, b identity) int {
		return cmp.Or(cmp.Compare(a.space, b.space), cmp.Compare(a.id, b.id))
	})
	for _, key := range keys {
		switch porcupine.CheckOperationsTimeout(register(), operations[key], within) {
		case porcupine.Ok:
			c.report.Decided++
		case porcupine.Illegal:
			c.report.Decided++
			c.violate(NotLinearizable, key.space, key.id, "of %d operations", len(operations[key]))
		default:
			c.report.Undecided++
		}
	}
}

// operations are the writes that may be in the log, and the reads at the frontier, by id.
func (c *checker) operations() map[identity][]porcupine.Operation {
	all := map[identity][]porcupine.Operation{}
	writes := map[identity][]*Write{}
	for _, w := range c.h.Writes {
		if w.Outcome == Refused {
			continue
		}
		key, end := identity{w.Space, w.ID}, int64(w.Return)
		if w.Outcome == Unknown {
			end = math.MaxInt64 // it may still come
		}
		s := step{write: true, version: w.Number}
		if w.Forget {
			s.version = 0
		}
		writes[key] = append(writes[key], w)
		all[key] = append(all[key], porcupine.Operation{ClientId: w.Client, Input: s, Call: int64(w.Call), Return: end})
	}
	for _, a := range c.h.Answers {
		if !a.Frontier || a.Error != "" {
			continue
		}
		read := func(id string, s step) {
			key := identity{a.Space, id}
			// What has not returned may be applied on one copy already. Where an answer lacks something because of it, no
			// position tells the next read to wait for it.
			lacks := s.version == 0 || s.not
			if lacks && slices.ContainsFunc(writes[key], func(w *Write) bool {
				return (s.not || w.Forget) && w.Call < a.Return && (w.Outcome == Unknown || w.Return > a.Call)
			}) {
				return
			}
			all[key] = append(all[key], porcupine.Operation{ClientId: a.Client, Input: s, Call: int64(a.Call), Return: int64(a.Return)})
		}
		found := map[string]bool{}
		for _, h := range a.Hits {
			found[h.ID] = true
			read(h.ID, step{version: h.Version})
		}
		for _, id := range a.Asked {
			if !found[id] {
				read(id, step{})
			}
		}
		if w := a.Wanted; w != nil && !found[w.ID] {
			read(w.ID, step{version: w.Version, not: true})
		}
	}
	return all
}
