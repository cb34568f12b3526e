package vecstore

import (
	"slices"
	"time"
)

// SpaceStats is what a shard holds of one space.
type SpaceStats struct {
	Definition Definition
	// Observations can be returned by a recall.
	Observations uint64
	// Dead rows were replaced or forgotten or have expired, and are not reclaimed yet.
	Dead uint64
	// Tail rows are searched by scanning, Graph rows through a graph; both include dead ones.
	Tail, Graph uint64
}

// Stats returns the numbers of one space now.
func (s *Shard) Stats(name string) (SpaceStats, bool) { return s.StatsAt(name, time.Now()) }

// StatsAt returns the numbers of one space, with what has expired by a time among the dead. Where observations have an
// expiry, it looks at each of them.
func (s *Shard) StatsAt(name string, now time.Time) (SpaceStats, bool) {
	sp, ok := s.space(name)
	if !ok {
		return SpaceStats{}, false
	}
	return sp.stats(now), true
}

// AllStats returns the numbers of every living space now, by name.
func (s *Shard) AllStats() []SpaceStats {
	s.mu.RLock()
	spaces := make([]*space, 0, len(s.spaces))
	for _, sp := range s.spaces {
		spaces = append(spaces, sp)
	}
	s.mu.RUnlock()
	slices.SortFunc(spaces, func(a, b *space) int {
		if a.def.Name < b.def.Name {
			return -1
		}
		return 1
	})
	all, now := make([]SpaceStats, len(spaces)), time.Now()
	for i, sp := range spaces {
		all[i] = sp.stats(now)
	}
	return all
}

func (sp *space) stats(now time.Time) SpaceStats {
	g := sp.gen.Load()
	linked := g.linked()
	g.idsMu.RLock()
	living := len(g.ids)
	g.idsMu.RUnlock()
	expired := min(g.expired(now.UnixNano()), living)
	return SpaceStats{
		Definition: sp.def, Observations: uint64(living - expired), Dead: uint64(g.dead.Load()) + uint64(expired),
		Tail: uint64(g.high.Load() - min(linked, g.high.Load())), Graph: uint64(linked),
	}
}

// expired counts the rows that hold but for their expiry.
func (g *generation) expired(now int64) (n int) {
	if g.expiring.Load() == 0 {
		return 0
	}
	marks := g.suspects.load()
	for row := range g.high.Load() {
		if !marks.has(row) {
			continue
		}
		m := g.meta.at(row)
		if born := m.born.Load(); born != 0 && born != void && m.dead.Load() == 0 && m.expires != 0 && m.expires <= now {
			n++
		}
	}
	return n
}
