package vecstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Linking bounds the threads that link rows, in all shards that share it.
type Linking struct{ tokens chan struct{} }

// NewLinking allows so many threads.
func NewLinking(threads int) *Linking {
	return &Linking{tokens: make(chan struct{}, max(threads, 1))}
}

// take waits for a thread, and takes up to n if they are free.
func (l *Linking) take(n int) int {
	l.tokens <- struct{}{}
	taken := 1
	for taken < n {
		select {
		case l.tokens <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
	return taken
}

func (l *Linking) give(n int) {
	for range n {
		<-l.tokens
	}
}

// linker moves rows from the tails of a shard into their graphs, in a goroutine of its own.
type linker struct {
	mu      sync.Mutex
	waiting map[*space]bool
	queue   []*space
	signal  chan struct{}
	quit    chan struct{}
	done    sync.WaitGroup
	failed  atomic.Pointer[error]
}

func (l *linker) prepare() {
	l.waiting, l.signal, l.quit = map[*space]bool{}, make(chan struct{}, 1), make(chan struct{})
}

func (l *linker) start(s *Shard) {
	l.done.Go(func() { l.run(s) })
}

// stop ends the goroutine, at the end of the block that it is at.
func (l *linker) stop() {
	close(l.quit)
	l.done.Wait()
}

// wake has the linker look at a space.
func (l *linker) wake(sp *space) {
	l.mu.Lock()
	if !l.waiting[sp] {
		l.waiting[sp] = true
		l.queue = append(l.queue, sp)
	}
	l.mu.Unlock()
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

func (l *linker) next() *space {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	sp := l.queue[0]
	l.queue = l.queue[1:]
	delete(l.waiting, sp)
	return sp
}

// run links one block of one space after the other, in turn.
func (l *linker) run(s *Shard) {
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		sp := l.next()
		if sp == nil {
			select {
			case <-l.signal:
			case <-l.quit:
				return
			}
			continue
		}
		if sp.gone.Load() {
			s.remove(sp)
			continue
		}
		more, err := s.linkBlock(sp)
		l.note(err)
		if more && err == nil {
			l.wake(sp)
		}
	}
}

func (l *linker) note(err error) {
	if err == nil {
		l.failed.Store(nil)
		return
	}
	l.failed.Store(&err)
}

// Linking returns why rows could not be linked when that was last tried, a full disk for one; nil when they were. They
// are searchable all the same, by scanning, and it is tried again with the next rows.
func (s *Shard) Linking() error {
	if err := s.linker.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// settled is told that rows of a space were applied. Where too many wait to be linked, it links some, so that ingest is
// no faster than the graph is built. A backlog that an open has left is worked off by the linker: it only must not grow.
func (l *linker) settled(s *Shard, sp *space) {
	g := sp.gen.Load()
	if !s.linkable(sp, g) {
		return
	}
	l.wake(sp)
	for g.waiting() > s.opt.TailRows && g.waiting() > sp.backlog.Load()+blockRows && g.engine.Load() != nil {
		if more, err := s.linkBlock(sp); err != nil || !more {
			return
		}
		g = sp.gen.Load()
	}
	sp.backlog.Store(min(sp.backlog.Load(), g.waiting()))
}

// waiting is how many rows are applied and not linked.
func (g *generation) waiting() uint32 {
	n := g.settled.Load()
	return n - min(n, g.linked())
}

// linkable tells whether a space has a block of rows for its graph.
func (s *Shard) linkable(sp *space, g *generation) bool {
	if sp.def.Engine == EngineExact {
		return false
	}
	return g.waiting() >= blockRows && (g.engine.Load() != nil || g.settled.Load() >= s.opt.GraphRows)
}

// Link links all rows of a space that have been applied, a last block that is not full as well, whatever the number of
// rows from which on a space gets a graph. A graph that grows block by block needs it for nothing.
func (s *Shard) Link(ctx context.Context, name string) error {
	sp, err := s.readable(name)
	if err != nil || sp.def.Engine == EngineExact {
		return err
	}
	for ctx.Err() == nil {
		sp.linking.Lock()
		g := sp.gen.Load()
		left := g.settled.Load() - g.linked()
		if s.closed.Load() {
			left, err = 0, ErrClosed
		}
		if left > 0 {
			err = s.linkRows(sp, g, min(left, blockRows))
		}
		sp.linking.Unlock()
		if left == 0 || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// linkBlock links one block of a space, and tells whether there is another one.
func (s *Shard) linkBlock(sp *space) (more bool, err error) {
	sp.linking.Lock()
	defer sp.linking.Unlock()
	g := sp.gen.Load()
	if sp.gone.Load() || s.closed.Load() || !s.linkable(sp, g) {
		return false, nil
	}
	if err := s.linkRows(sp, g, blockRows); err != nil {
		return false, err
	}
	return s.linkable(sp, g), nil
}

// linkRows links the next n rows; linking is held. A panic of the index is an error: the rows stay in the tail. Where the columns
// are to blame for it they are set aside, and the shard is to be opened again.
func (s *Shard) linkRows(sp *space, g *generation, n uint32) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("linking rows of space %q: %w", sp.def.Name, s.inspectGraph(sp, g, panicked(g, v)))
		}
	}()
	first := g.linked() + n
	if g.engine.Load() == nil {
		first = max(first, s.centreRows(g))
	}
	if err := s.stage(sp, g, first); err != nil {
		return fmt.Errorf("reading rows of space %q to be linked: %w", sp.def.Name, s.inspect(err))
	}
	threads := s.opt.Linking.take(s.opt.LinkThreads)
	defer s.opt.Linking.give(threads)
	start := time.Now()
	err = vfs.Guard(func() (err error) {
		e := g.engine.Load()
		if e == nil {
			if e, err = s.makeEngine(sp, g); err != nil {
				return err
			}
			if err := s.nameEngine(sp, e, 0); err != nil {
				return errors.Join(err, e.drop())
			}
			g.engine.Store(e)
		}
		return e.link(e.linked()+n, threads)
	})
	if err != nil {
		return fmt.Errorf("linking rows of space %q: %w", sp.def.Name, s.inspectGraph(sp, g, err))
	}
	g.tail.drop(g.linked())
	if s.opt.OnLink != nil {
		s.opt.OnLink(int(n), time.Since(start))
	}
	return nil
}

// panicked makes an error of a panic while rows were linked. That it comes from damaged columns is not known before they were
// looked at: the same rows may make the same index panic again, however often its columns are built anew.
func panicked(g *generation, v any) error {
	if x, ok := g.engine.Load().graph(); ok {
		if damage := vfs.Guard(x.check); damage != nil {
			return fmt.Errorf("%w; the index panicked: %v", damage, v)
		}
	}
	return fmt.Errorf("the index panicked: %v; %s", v, debug.Stack())
}

// makeEngine makes the index of a generation that has none yet, of whose rows the first centreRows are in the tail. Its file is
// not named in the manifest.
func (s *Shard) makeEngine(sp *space, g *generation) (*engine, error) {
	if sp.def.Engine == EngineCoder {
		return &engine{newCoder(g)}, nil
	}
	file, err := s.createColumns(sp, g.centre(sp.codec, s.centreRows(g)))
	if err != nil {
		return nil, err
	}
	return &engine{newGraph(g, file, s.opt.Graph)}, nil
}
