package rows

import "sync/atomic"

// holds counts who uses something that goes when nobody does any more: whoever made it, from begin on, and others for a while.
type holds struct{ n atomic.Int64 }

func (h *holds) begin() { h.n.Store(1) }

// hold keeps it, and tells whether it still was there.
func (h *holds) hold() bool {
	for {
		n := h.n.Load()
		if n == 0 {
			return false
		}
		if h.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// end ends a hold, and tells whether it was the last one.
func (h *holds) end() bool { return h.n.Add(-1) <= 0 }
