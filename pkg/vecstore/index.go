package vecstore

// Index finds the rows of one space that are nearest to a query. It is the seam between a space (ids, versions,
// expiry, the row log) and the way its vectors are searched.
//
// Add is called by one goroutine at a time with consecutive rows from 0; Search by any number beside it, for rows
// that were added before.
type Index interface {
	// Add makes a row known. vector is packed little-endian f32 of the space's dimension, finite, and not zero where
	// the metric is cosine; it belongs to the caller again when Add returns.
	Add(row uint32, vector []byte) error
	// Search offers the visible rows nearest to query to best and returns how many rows it compared.
	Search(query []float32, view View, best *TopK) (searched int)
	// Vector appends the vector of a row to dst in a form fit as a query: the one that was added, or for cosine one of
	// the same direction.
	Vector(row uint32, dst []float32) []float32
	// Tiers returns how many rows are searched by scanning and how many through a graph.
	Tiers() (tail, graph uint32)
	// Exact tells whether Search offers the true nearest rows.
	Exact() bool
}

// View is what a search may see of a space: its first rows, less those that are replaced, forgotten or expired.
type View struct {
	space *space
	rows  uint32
	now   int64
}

// Rows returns the number of rows to search, visible or not.
func (v *View) Rows() uint32 { return v.rows }

// Visible tells whether a row may be returned. One that was added after the view was taken is visible until it is
// replaced.
func (v *View) Visible(row uint32) bool {
	m := v.space.meta.at(row)
	if d := m.dead.Load(); d != 0 && d <= v.rows {
		return false
	}
	return m.expires == 0 || m.expires > v.now
}

// newIndex returns the engine that a definition names.
func newIndex(d *Definition) (Index, error) {
	switch d.Engine {
	case "", EngineExact:
		return newExact(int(d.Dimension), d.Metric), nil
	default:
		return nil, errEngine(d.Engine)
	}
}
