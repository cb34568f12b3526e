package vecstore

import (
	"fmt"
	"slices"
	"sync"

	"github.com/engram-memory/engram/pkg/vecstore/manifest"
)

// givenUp are the rows that could not be applied, whose records are in the row log all the same: a replay must leave them
// out, or an observation that stands in the quarantine would be found after a restart, or fail again where nobody tries it
// alone. None of them is applied later: linking and compactions have passed over it, and whoever gave it has it in the quarantine. The
// manifest has them; what could not be stored there is stored with the next checkpoint, before anything that
// came behind it is acknowledged. Only a process that dies before either gives such a row another chance.
type givenUp struct {
	mu      sync.Mutex
	pending []manifest.Row
}

// forgo notes a row that is given up.
func (s *Shard) forgo(sp *space, sequence uint64) {
	s.givenUp.mu.Lock()
	s.givenUp.pending = append(s.givenUp.pending, manifest.Row{Space: sp.number, Sequence: sequence})
	s.givenUp.mu.Unlock()
	_ = s.storeGivenUp() // the next checkpoint tries again, and says why it cannot
}

// storeGivenUp makes durable what is not yet.
func (s *Shard) storeGivenUp() error {
	s.givenUp.mu.Lock()
	defer s.givenUp.mu.Unlock()
	if len(s.givenUp.pending) == 0 {
		return nil
	}
	err := s.store(func(m *manifest.Manifest) {
		for _, row := range s.givenUp.pending {
			if !slices.Contains(m.GivenUp, row) {
				m.GivenUp = append(m.GivenUp, row)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("noting which rows were given up: %w", err)
	}
	s.givenUp.pending = nil
	return nil
}

// gaveUp tells whether a row is noted as given up.
func (s *Shard) gaveUp(sp *space, sequence uint64) bool {
	row := manifest.Row{Space: sp.number, Sequence: sequence}
	s.givenUp.mu.Lock()
	defer s.givenUp.mu.Unlock()
	s.manifestMu.Lock()
	defer s.manifestMu.Unlock()
	return slices.Contains(s.givenUp.pending, row) || slices.Contains(s.manifest.GivenUp, row)
}
