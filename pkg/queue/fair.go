package queue

// Fair is a queue of flows that takes turns between them by deficit round robin (Shreedhar and Varghese, 1995): each
// flow may take a quantum of cost a round, and keeps what is left of it while it has more to take, so that over time
// flows that always wait take the same cost, whatever their items cost. Within a flow the order is that of Push.
//
// A flow that had nothing waiting goes before those that have waited for a round already, for one quantum, as in
// RFC 8290: one that sends little waits for nobody's backlog, and one that empties again and again gets no more by it,
// since it keeps its place among the others until its turn there has come.
//
// It is not safe for concurrent use, and has no bound of its own. The zero value is not usable: see NewFair.
type Fair[K comparable, T any] struct {
	quantum int
	flows   map[K]*flow[K, T]
	// fresh are flows in their first round, and old those that had one; both lists are linked through flow.next.
	fresh, old turns[K, T]
	count      int
}

type flow[K comparable, T any] struct {
	key     K
	items   []costed[T]
	first   int // items before it are taken
	deficit int
	next    *flow[K, T]
}

type costed[T any] struct {
	v    T
	cost int
}

// turns is a list of flows, first in, first out.
type turns[K comparable, T any] struct{ head, tail *flow[K, T] }

// NewFair returns an empty queue. quantum is what a flow may take a round, above 0.
func NewFair[K comparable, T any](quantum int) *Fair[K, T] {
	return &Fair[K, T]{quantum: max(quantum, 1), flows: map[K]*flow[K, T]{}}
}

// Len returns how many items wait.
func (q *Fair[K, T]) Len() int { return q.count }

// Each calls fn with every flow that has items, and their number, in no order.
func (q *Fair[K, T]) Each(fn func(k K, n int)) {
	for k, f := range q.flows {
		if n := len(f.items) - f.first; n > 0 {
			fn(k, n)
		}
	}
}

// Push appends an item to its flow. cost is at least 1.
func (q *Fair[K, T]) Push(k K, v T, cost int) {
	f := q.flows[k]
	if f == nil {
		f = &flow[K, T]{key: k, deficit: q.quantum}
		q.flows[k] = f
		q.fresh.push(f)
	}
	f.items = append(f.items, costed[T]{v, max(cost, 1)})
	q.count++
}

// Peek returns the item that Pop would take, and its cost.
func (q *Fair[K, T]) Peek() (v T, cost int, ok bool) {
	f := q.turn()
	if f == nil {
		return v, 0, false
	}
	return f.items[f.first].v, f.items[f.first].cost, true
}

// Pop takes the next item.
func (q *Fair[K, T]) Pop() (v T, ok bool) {
	f := q.turn()
	if f == nil {
		return v, false
	}
	return q.take(f), true
}

// PopFresh looks at freshLooked flows with items at the most, and at freshPassed in all.
const (
	freshLooked = 64
	freshPassed = 4096
)

// PopFresh takes the next item of a flow in its first round that want says true of. It is for a consumer that has no room for
// what Pop would take: what sends little passes by that too. A flow that it empties stays in its round, and what comes into it
// meanwhile is found.
func (q *Fair[K, T]) PopFresh(want func(T) bool) (v T, ok bool) {
	looked, passed := 0, 0
	for f := q.fresh.head; f != nil && looked < freshLooked && passed < freshPassed; f = f.next {
		passed++
		if f.first == len(f.items) {
			continue
		}
		if looked++; f.items[f.first].cost <= f.deficit && want(f.items[f.first].v) {
			return q.take(f), true
		}
	}
	return v, false
}

// take takes the first item of a flow.
func (q *Fair[K, T]) take(f *flow[K, T]) T {
	c := &f.items[f.first]
	v := c.v
	f.deficit -= c.cost
	*c = costed[T]{}
	f.first++
	q.count--
	switch {
	case f.first == len(f.items):
		f.items, f.first = nil, 0
	case f.first >= 64 && 2*f.first >= len(f.items):
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	return v
}

// turn moves to the flow whose turn it is, one that has an item which its deficit pays for; nil when nothing waits.
func (q *Fair[K, T]) turn() *flow[K, T] {
	if q.count == 0 {
		// Flows that wait only to be forgotten need not be walked through one by one.
		if len(q.flows) > 0 {
			clear(q.flows)
			q.fresh, q.old = turns[K, T]{}, turns[K, T]{}
		}
		return nil
	}
	for {
		list, fresh := &q.old, false
		if q.fresh.head != nil {
			list, fresh = &q.fresh, true
		}
		f := list.head
		empty := f.first == len(f.items)
		switch {
		case empty && fresh:
			q.old.push(list.pop())
		case empty:
			delete(q.flows, list.pop().key)
		case f.items[f.first].cost <= f.deficit:
			return f
		default:
			f.deficit += q.quantum
			q.old.push(list.pop())
		}
	}
}

func (t *turns[K, T]) push(f *flow[K, T]) {
	f.next = nil
	if t.tail == nil {
		t.head = f
	} else {
		t.tail.next = f
	}
	t.tail = f
}

func (t *turns[K, T]) pop() *flow[K, T] {
	f := t.head
	t.head = f.next
	if t.head == nil {
		t.tail = nil
	}
	f.next = nil
	return f
}
