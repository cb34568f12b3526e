package history

import (
	"fmt"
	"time"
)

// Outcome is what a client knows of its write.
type Outcome uint8

const (
	// Unknown writes may be in the log, and may still come there: nobody answered, or the answer says so. A write that was
	// only begun is one.
	Unknown Outcome = iota
	// Accepted writes are in the log, at their position.
	Accepted
	// Refused writes are not in the log, and nothing of them may ever be seen.
	Refused
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	}
	return "unknown"
}

// Write is one observation, or the forget of one id. Times are since the history began; Return is 0 while the write has not
// returned.
type Write struct {
	// Number identifies the write within the history, from 1. It is also the version that an observation writes. The ids
	// of one forget share its Request, but have numbers of their own.
	Number  uint64        `json:"n"`
	Request uint64        `json:"req,omitempty"`
	Forget  bool          `json:"forget,omitempty"`
	Client  int           `json:"client"`
	Space   string        `json:"space"`
	Shard   int           `json:"shard"`
	ID      string        `json:"id"`
	WriteID string        `json:"write_id,omitempty"`
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return,omitempty"`
	Outcome Outcome       `json:"outcome"`
	// Position is the sequence in the shard's log, 0 where it is not known.
	Position  uint64 `json:"pos,omitempty"`
	Duplicate bool   `json:"dup,omitempty"` // an earlier try had been accepted
	Error     string `json:"error,omitempty"`
}

func (w *Write) String() string {
	what := "observe"
	if w.Forget {
		what = "forget"
	}
	return fmt.Sprintf("%s %d by client %d (%s) from %v to %v at %d", what, w.Number, w.Client, w.Outcome, w.Call, w.Return, w.Position)
}

// Hit is one observation of an answer.
type Hit struct {
	ID       string `json:"id"`
	Version  uint64 `json:"v"`
	Position uint64 `json:"pos"`
}

// Answer is one read, and what it found. Which ids must be in it depends on what was asked: those of Asked, the version
// Wanted, or, where it is Complete, all of the space.
type Answer struct {
	Client int           `json:"client"`
	How    string        `json:"how"` // "get", "list", "recall", and over what
	Space  string        `json:"space"`
	Shard  int           `json:"shard"`
	Call   time.Duration `json:"call"`
	Return time.Duration `json:"return"`
	// AtLeast is the sequence that the read waited for, 0 for none.
	AtLeast uint64 `json:"at_least,omitempty"`
	// Frontier says that AtLeast is at or above every position that any client had seen of the shard when the read was
	// called. Such reads, with the writes, are linearizable.
	Frontier bool `json:"frontier,omitempty"`
	// Applied is the sequence that the answer claims, 0 where there is no answer.
	Applied   uint64        `json:"applied,omitempty"`
	Staleness time.Duration `json:"staleness,omitempty"` // as the answer says
	Asked     []string      `json:"asked,omitempty"`     // ids: each is among the hits, or is not there
	Wanted    *Hit          `json:"wanted,omitempty"`    // a recall by the vector of this version finds it, if it still is the id's
	Complete  bool          `json:"complete,omitempty"`  // the hits are the whole space
	Hits      []Hit         `json:"hits,omitempty"`
	Error     string        `json:"error,omitempty"` // what the read failed with, within the client's deadline
}

// History is what the clients of one run did. Answers of one client are in the order of their calls.
type History struct {
	Writes  []*Write
	Answers []*Answer
}
