package hnsw

// choose picks up to m of the candidates, which are in the order of their distance from a row, by the diversity
// heuristic: a candidate that is nearer to one that was picked than to the row itself is reached through that one, and
// left out. The result is in the same order and is the searcher's, until the next call.
//
// Each pick is compared with all candidates that are left in one call, instead of each candidate with all picks.
func (s *Searcher) choose(rows Rows, candidates []Candidate, m int) []Candidate {
	s.chosen = s.chosen[:0]
	if len(candidates) <= 1 {
		s.chosen = append(s.chosen, candidates...)
		return s.chosen
	}
	s.room(len(candidates))
	s.left = append(s.left[:0], candidates...)
	left := s.left
	for {
		pick := left[0]
		s.chosen = append(s.chosen, pick)
		left = left[1:]
		if len(s.chosen) == m || len(left) == 0 {
			return s.chosen
		}
		ids := s.ids[:len(left)]
		for i, c := range left {
			ids[i] = c.Row
		}
		rows.Load(pick.Row, &s.pick)
		dist := s.dist[:len(left)]
		rows.Distances(&s.pick, ids, dist, s.scratch)
		kept := left[:0]
		for i, c := range left {
			if dist[i] >= c.Distance {
				kept = append(kept, c)
			}
		}
		if left = kept; len(left) == 0 {
			return s.chosen
		}
	}
}
