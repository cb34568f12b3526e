package session

import (
	"time"

	"github.com/engram-memory/engram/pkg/wire"
)

// Memory bounds the bytes that requests and streams may have of a gateway. Nobody waits for it: who gets nothing refuses
// its client. Its methods may be called concurrently.
type Memory interface {
	// Grow takes n bytes more for somebody who has own, if they are left; Room tells whether they are.
	Grow(own, n int) bool
	Room(own, n int) bool
	// Force takes n bytes whether they are left or not.
	Force(n int)
	// Give gives n bytes back.
	Give(n int)
}

// unbounded is the memory of a manager that was given none.
type unbounded struct{}

func (unbounded) Grow(int, int) bool { return true }
func (unbounded) Room(int, int) bool { return true }
func (unbounded) Force(int)          {}
func (unbounded) Give(int)           {}

// Held is what one request or stream has of a Memory. It belongs to one goroutine at a time.
type Held struct {
	Memory Memory
	n      int
}

// Grow takes n bytes more, if they are left.
func (h *Held) Grow(n int) bool {
	if n <= 0 {
		return true
	}
	if !h.Memory.Grow(h.n, n) {
		return false
	}
	h.n += n
	return true
}

// Room tells whether n bytes more are left.
func (h *Held) Room(n int) bool { return h.Memory.Room(h.n, n) }

// Release gives everything back.
func (h *Held) Release() {
	h.Memory.Give(h.n)
	h.n = 0
}

// JSONFactor is how many times the bytes of JSON are counted: they are there, the decoder copies them, and what they become
// needs up to twice as much again where embeddings are written with few digits. ProtobufFactor is the same of protobuf, whose
// bytes become about as many.
const (
	JSONFactor     = 4
	ProtobufFactor = 2
)

// Factor is that of a format.
func Factor(f wire.Format) int {
	if f == wire.Protobuf {
		return ProtobufFactor
	}
	return JSONFactor
}

// TooMuchRead is the refusal of a request or a frame for which no memory is left.
func TooMuchRead() *wire.Error {
	e := wire.Errorf(wire.CodeBackpressure, "", "the requests that this gateway is reading fill the memory that they may have; send the request again later")
	e.RetryAfter = time.Second
	return e
}
