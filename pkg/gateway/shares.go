package gateway

import (
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// shares counts what each space has outstanding in a shard: what is in flight in this gateway, or in the log and not fetched
// by a worker, and beside it what the most advanced worker says of what it has fetched. So it does not matter through which
// gateway that came. A space that is not among the worker's largest backlogs counts as having none there: it has little,
// or so many have as much that its share will tell once it has more. It is guarded by its shard's mutex.
type shares struct {
	spaces map[string]*share
	// committed is what stands in the log behind fetched, in order.
	committed []committed
	first     int // those before it are fetched
	high      int // observations of high priority among what is counted here
	heard     heard
}

type share struct {
	outstanding int
	flight      int // of those, in flight
	bytes       int // in flight
}

type committed struct {
	space string
	n     int
	last  uint64
	high  bool
}

// heard is a worker's word on what it has fetched.
type heard struct {
	backlogs map[string]int // the largest
	spaces   int
	high     int
}

func newShares() shares { return shares{spaces: map[string]*share{}} }

func (s *shares) of(space string) float64 {
	n := s.heard.backlogs[space]
	if own := s.spaces[space]; own != nil {
		n += own.outstanding
	}
	return float64(n)
}

// flight is how many of a space's are in flight.
func (s *shares) flight(space string) int {
	if own := s.spaces[space]; own != nil {
		return own.flight
	}
	return 0
}

// outstandingHigh is what all spaces have of high priority.
func (s *shares) outstandingHigh() float64 { return float64(s.high + s.heard.high) }

func (s *shares) bytesOf(space string) int {
	if own := s.spaces[space]; own != nil {
		return own.bytes
	}
	return 0
}

// count is the number of spaces that have something outstanding, as far as is known.
func (s *shares) count() int {
	n := len(s.spaces)
	for space := range s.heard.backlogs {
		if s.spaces[space] == nil {
			n++
		}
	}
	return max(n, s.heard.spaces)
}

func (s *shares) add(l load) {
	own := s.spaces[l.space]
	if own == nil {
		own = new(share)
		s.spaces[l.space] = own
	}
	own.outstanding += l.n
	own.flight += l.n
	if l.high {
		s.high += l.n
	}
	own.bytes += l.bytes
}

// settle ends the flight of what add counted: n of it now stand in the log, the last at a sequence.
func (s *shares) settle(l load, n int, last uint64) {
	if l.space == "" {
		return
	}
	s.spaces[l.space].bytes -= l.bytes
	s.spaces[l.space].flight -= l.n
	s.remove(l.space, l.high, l.n-n)
	if n > 0 {
		// Batches of the two priorities end beside each other: one may be behind what came before it.
		at := len(s.committed)
		for at > s.first && s.committed[at-1].last > last {
			at--
		}
		s.committed = slices.Insert(s.committed, at, committed{l.space, n, last, l.high})
	}
}

func (s *shares) remove(space string, high bool, n int) {
	if high {
		s.high -= n
	}
	own := s.spaces[space]
	own.outstanding -= n
	if own.outstanding == 0 && own.bytes == 0 {
		delete(s.spaces, space)
	}
}

// pass takes what is fetched out of the account.
func (s *shares) pass(fetched uint64) {
	for s.first < len(s.committed) && s.committed[s.first].last <= fetched {
		c := &s.committed[s.first]
		s.remove(c.space, c.high, c.n)
		*c = committed{}
		s.first++
	}
	if s.first == len(s.committed) {
		s.committed, s.first = s.committed[:0], 0
	} else if s.first > 1024 && 2*s.first > len(s.committed) {
		n := copy(s.committed, s.committed[s.first:])
		clear(s.committed[n:])
		s.committed, s.first = s.committed[:n], 0
	}
}

// restart forgets what stood in the log: it is another one now.
func (s *shares) restart() {
	s.pass(^uint64(0))
	s.heard = heard{}
}

// hear takes a worker's word.
func (s *shares) hear(st *api.ShardStatus) {
	s.pass(max(st.GetFetched(), st.GetApplied()))
	h := heard{spaces: int(st.GetWaitingSpaces()), high: int(st.GetDepthHigh())}
	if all := st.GetBacklogs(); len(all) > 0 {
		h.backlogs = make(map[string]int, len(all))
		for _, b := range all {
			h.backlogs[b.GetSpace()] = int(b.GetObservations())
		}
	}
	s.heard = h
}
