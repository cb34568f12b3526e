package worker

import (
	"sync"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// task is one event on its way from the row log to being searchable.
type task struct {
	event  vecstore.Event
	ticket uint64
	shard  *shard
	high   bool
	bytes  int // of the message in the log
}

// mailbox holds the backlog of one space. At any time at most one index worker has it, or it lies in the ready list of
// one: so a space has one writer, and its events are applied in the order in which they were routed.
type mailbox struct {
	key   any // vecstore.Event.SpaceKey
	space string

	mu        sync.Mutex
	home      int // the index worker that gets it next
	pending   []*task
	scheduled bool
}

// put appends a task and returns the index worker that it counts for, and whether the mailbox must now be scheduled
// there. Where it must, nobody has it, and choose may say a better home.
func (m *mailbox) put(t *task, workers []*indexWorker, choose func(*indexWorker) *indexWorker) (home *indexWorker, schedule bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = append(m.pending, t)
	home = workers[m.home]
	schedule = !m.scheduled
	if schedule {
		home = choose(home)
		m.home = home.id
	}
	home.load.Add(1)
	m.scheduled = true
	return home, schedule
}

// move makes another index worker the home of the space, with its backlog.
func (m *mailbox) move(from, to *indexWorker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.home = to.id
	from.load.Add(-int64(len(m.pending)))
	to.load.Add(int64(len(m.pending)))
}

// take returns the next tasks, at most n.
func (m *mailbox) take(n int) []*task {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.pending))
	batch := m.pending[:n:n]
	m.pending = m.pending[n:]
	if len(m.pending) == 0 {
		m.pending = nil
	}
	return batch
}

// release ends a turn and tells whether another one is needed.
func (m *mailbox) release() (again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scheduled = len(m.pending) > 0
	return m.scheduled
}

// idle tells whether nobody has it and nothing is in it.
func (m *mailbox) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.scheduled
}
