package vecstore

import "slices"

// SpaceStats is what a shard holds of one space.
type SpaceStats struct {
	Definition Definition
	// Observations can be returned by a recall; expired ones count until they are reclaimed.
	Observations uint64
	// Dead rows were replaced or forgotten and are not reclaimed yet.
	Dead uint64
	// Tail rows are searched by scanning, Graph rows through a graph; both include dead ones.
	Tail, Graph uint64
}

// Stats returns the numbers of one space.
func (s *Shard) Stats(name string) (SpaceStats, bool) {
	sp, ok := s.space(name)
	if !ok {
		return SpaceStats{}, false
	}
	return sp.stats(), true
}

// AllStats returns the numbers of every living space, by name.
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
	all := make([]SpaceStats, len(spaces))
	for i, sp := range spaces {
		all[i] = sp.stats()
	}
	return all
}

func (sp *space) stats() SpaceStats {
	g := sp.gen.Load()
	linked := g.linked()
	g.idsMu.RLock()
	living := len(g.ids)
	g.idsMu.RUnlock()
	return SpaceStats{
		Definition: sp.def, Observations: uint64(living), Dead: uint64(g.dead.Load()),
		Tail: uint64(g.high.Load() - min(linked, g.high.Load())), Graph: uint64(linked),
	}
}
