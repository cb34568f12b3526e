package hnsw

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

var small = Config{M: 8, EfConstruction: 40}

func TestRecallOfClusters(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, p := range map[string]*points{"clustered": clustered(rng, 4000, 16, 40), "scattered": scattered(rng, 4000, 8)} {
		queries := p.vectors[3900:]
		p.vectors = p.vectors[:3900]
		for _, coarse := range []bool{false, true} {
			p.coarse = coarse
			mem := newMemory(small, len(p.vectors))
			g := build(small, p, mem, 256, 2)
			mem.check(t, len(p.vectors), nil)
			for _, tc := range []struct {
				k, ef int
				least float64
			}{{10, 60, 0.95}, {1, 30, 0.95}, {100, 200, 0.95}} {
				if got := recall(t, g, p, queries, tc.k, tc.ef, nil); got < tc.least && (!coarse || got < tc.least-0.15) {
					t.Errorf("%s, coarse %t: recall@%d of ef %d is %.4f", name, coarse, tc.k, tc.ef, got)
				}
			}
		}
	}
}

// Hidden rows are passed through: what is behind them is found.
func TestHiddenRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	p := clustered(rng, 3100, 16, 20)
	queries := p.vectors[3000:]
	p.vectors = p.vectors[:3000]
	g := build(small, p, newMemory(small, len(p.vectors)), 256, 1)
	for name, tc := range map[string]struct {
		hide  func(uint32) bool
		least float64
	}{
		"a half":           {func(row uint32) bool { return row%2 == 0 }, 0.95},
		"nine of ten":      {func(row uint32) bool { return row%10 != 0 }, 0.95},
		"the older half":   {func(row uint32) bool { return row < 1500 }, 0.95},
		"all that is near": {func(row uint32) bool { return p.vectors[row][0] > -60 }, 0.9},
		"none":             {func(uint32) bool { return false }, 0.95},
	} {
		if got := recall(t, g, p, queries, 10, 60, tc.hide); got < tc.least {
			t.Errorf("%s hidden: recall is %.4f", name, got)
		}
	}
	s := NewSearcher()
	if found, _ := g.Search(s, p.query(queries[0]), 50, 10, func(uint32) bool { return true }); len(found) != 0 {
		t.Errorf("%v is found, and all is hidden", found)
	}
}

// The graph is the same whatever the number of threads, and whether it is built at one go or continued by others; how it
// is cut into blocks does change it, but not what it finds.
func TestThreadsAndBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	p := clustered(rng, 2600, 12, 15)
	queries := p.vectors[2500:]
	p.vectors = p.vectors[:2500]
	first := newMemory(small, len(p.vectors))
	build(small, p, first, 256, 1)
	for _, threads := range []int{2, 3, 8, 300} {
		mem := newMemory(small, len(p.vectors))
		if build(small, p, mem, 256, threads); !mem.same(first, len(p.vectors)) {
			t.Errorf("%d threads make another graph", threads)
		}
	}
	mem := newMemory(small, len(p.vectors))
	for n := 0; n < len(p.vectors); n += 256 {
		g := New(small, p, mem, uint32(n))
		if g.Insert(uint32(min(n+256, len(p.vectors))), 1+n%3, nil); g.Len() != uint32(min(n+256, len(p.vectors))) {
			t.Fatalf("%d rows are linked", g.Len())
		}
	}
	if !mem.same(first, len(p.vectors)) {
		t.Error("a graph that is continued by others is another one")
	}
	for _, block := range []int{1, 7, 100, 2500} {
		mem := newMemory(small, len(p.vectors))
		g := build(small, p, mem, block, 2)
		mem.check(t, len(p.vectors), nil)
		if got := recall(t, g, p, queries, 10, 60, nil); got < 0.95 {
			t.Errorf("blocks of %d: recall is %.4f", block, got)
		}
	}
}

// The process dies at any comparison while a block is inserted, once or twice. The block is inserted again, and the graph
// is as good as if nothing had happened; where no list of an older row had been changed yet, it is the same.
func TestInsertAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	p := clustered(rng, 1124, 12, 8)
	queries := p.vectors[1024:]
	p.vectors = p.vectors[:1024]
	before := newMemory(small, 1024)
	g := New(small, p, before, 0)
	for n := uint32(256); n <= 768; n += 256 {
		g.Insert(n, 1, nil)
	}
	total := 0
	whole := before.clone()
	p.called = func() { total++ }
	g = New(small, p, whole, 768)
	g.Insert(1024, 1, nil)
	p.called = nil
	want := recall(t, g, p, queries, 10, 30, nil)

	type death struct{}
	same := 0
	for dies := 1; dies <= total; dies += 1 + total/40 {
		mem := before.clone()
		for range 2 {
			n := dies
			p.called = func() {
				if n--; n == 0 {
					panic(death{})
				}
			}
			func() {
				defer func() {
					if v := recover(); v != nil && v != (death{}) {
						panic(v)
					}
				}()
				New(small, p, mem, 768).Insert(1024, 1, nil)
			}()
			p.called = nil
		}
		// A search meets links to rows that are not there yet, and looks away.
		if got := recall(t, New(small, p, mem, 768), p, queries, 10, 30, nil); got < 0.9 {
			t.Fatalf("after death at %d, before the block: recall is %.4f", dies, got)
		}
		g := New(small, p, mem, 768)
		g.Insert(1024, 1+dies%3, nil)
		mem.check(t, 1024, nil)
		if mem.same(whole, 1024) {
			same++
		} else if got := recall(t, g, p, queries, 10, 30, nil); got < want-0.02 {
			t.Errorf("after death at %d: recall is %.4f, and %.4f without", dies, got, want)
		}
	}
	if same < 10 {
		t.Errorf("only %d graphs are the same", same)
	}
	// Of a block that was whole and did not count, nothing is added twice.
	mem := whole.clone()
	New(small, p, mem, 768).Insert(1024, 2, nil)
	mem.check(t, 1024, nil)
	if mem.entry != whole.entry {
		t.Error("the entry point is another one")
	}
}

// Of rows that are as near as each other as many are found as anyone asks for as a rule; the others make the rest no harder
// to find.
func TestEqualRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	for name, distinct := range map[string]int{"all equal": 1, "two": 2, "each twenty times": 40} {
		p := &points{}
		base := scattered(rng, distinct, 6)
		for i := range 800 {
			p.vectors = append(p.vectors, base.vectors[i%distinct])
		}
		for _, block := range []int{1, 256} {
			mem := newMemory(small, 800)
			g := build(small, p, mem, block, 2)
			mem.check(t, 800, nil)
			s := NewSearcher()
			for i := range min(distinct, 10) {
				found, _ := g.Search(s, p.query(base.vectors[i]), 100, 12, nil)
				if len(found) != 12 || found[11].Distance != 0 {
					t.Errorf("%s, blocks of %d: %d of 12 are found, the last one at %g", name, block, len(found), found[len(found)-1].Distance)
				}
			}
			// Where they are not too many, a search that is long enough finds nearly all.
			if found, _ := g.Search(s, p.query(base.vectors[0]), 800, 800, nil); distinct > 2 && len(found) < 760 {
				t.Errorf("%s, blocks of %d: only %d rows can be reached", name, block, len(found))
			}
		}
	}
}

func TestEmptyAndHollow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	p := scattered(rng, 600, 6)
	mem := newMemory(small, 600)
	g := New(small, p, mem, 0)
	s := NewSearcher()
	nothing := func(what string) {
		t.Helper()
		if found, visited := g.Search(s, p.query(p.vectors[0]), 10, 10, nil); len(found) != 0 || visited != 0 {
			t.Errorf("%s: %v is found", what, found)
		}
		if _, _, ok := g.EntryPoint(); ok {
			t.Errorf("%s: there is an entry point", what)
		}
	}
	nothing("empty")
	g.Insert(0, 2, nil)
	nothing("with nothing inserted")
	// A block of rows without vectors, where something has been before.
	mem.Links(50)[0], mem.Links(50)[1] = 1, 7
	g.Insert(100, 2, func(uint32) bool { return true })
	nothing("hollow")
	if g.Len() != 100 {
		t.Fatalf("%d rows are linked", g.Len())
	}
	hollow := func(row uint32) bool { return row < 100 || row%3 == 0 }
	for n := uint32(101); n <= 600; n += 83 {
		g.Insert(min(n, 600), 2, hollow)
	}
	g.Insert(600, 2, hollow)
	g.Insert(300, 2, nil) // which it has
	mem.check(t, 600, hollow)
	for _, v := range p.vectors[100:200] {
		found, _ := g.Search(s, p.query(v), 60, 60, nil)
		for _, c := range found {
			if hollow(c.Row) {
				t.Fatalf("row %d, which has no vector, is found", c.Row)
			}
		}
		if len(found) != 60 {
			t.Fatalf("%d are found", len(found))
		}
	}
}

// The entry point of a graph that lost its own is as good as that.
func TestChooseEntryPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	p := clustered(rng, 1600, 8, 10)
	queries := p.vectors[1500:]
	p.vectors = p.vectors[:1500]
	mem := newMemory(small, 1500)
	g := build(small, p, mem, 256, 1)
	row, level, _ := g.EntryPoint()
	if level != slices.Max(mem.level) || mem.level[row] != level {
		t.Errorf("the entry point is in layer %d, and there are %d", level, slices.Max(mem.level))
	}
	mem.entry = 0
	g = New(small, p, mem, 1500)
	g.ChooseEntryPoint()
	if again, l, ok := g.EntryPoint(); !ok || l != level || mem.level[again] != level {
		t.Errorf("the entry point went from %d in layer %d to %d in layer %d", row, level, again, l)
	}
	if got := recall(t, g, p, queries, 10, 60, nil); got < 0.95 {
		t.Errorf("recall is %.4f", got)
	}
}

// Searches go on while rows are inserted, and see rows that are there.
func TestSearchDuringInsert(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	p := clustered(rng, 3000, 8, 12)
	mem := newMemory(small, 3000)
	g := New(small, p, mem, 0)
	g.Insert(100, 1, nil)
	var done atomic.Bool
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() {
			s, rng := NewSearcher(), rand.New(rand.NewPCG(uint64(n), 9))
			for turns := 0; turns < 50 || !done.Load(); turns++ {
				low := g.Len()
				v := rng.IntN(int(low))
				found, _ := g.Search(s, p.query(p.vectors[v]), 40, 10, nil)
				high := g.Len()
				seen := map[uint32]bool{}
				for _, c := range found {
					if c.Row >= high || seen[c.Row] {
						t.Errorf("row %d of %d is found, or twice", c.Row, high)
					}
					seen[c.Row] = true
				}
				if len(found) != 10 {
					t.Errorf("%d of %d rows are found", len(found), low)
					return
				}
			}
		})
	}
	for n := uint32(150); n <= 3000; n += 50 {
		g.Insert(n, 2, nil)
	}
	done.Store(true)
	all.Wait()
	mem.check(t, 3000, nil)
}

// The memory of a searcher is used again for graphs of any size, more often than it has marks.
func TestSearcherIsUsedAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 10))
	p := clustered(rng, 1500, 8, 10)
	large := build(small, p, newMemory(small, 1500), 256, 1)
	few := &points{vectors: p.vectors[:40]}
	tiny := build(Config{M: 2, EfConstruction: 4}, few, newMemory(Config{M: 2, EfConstruction: 4}, 40), 10, 1)
	s := NewSearcher()
	for between := 250; between < 260; between++ { // searches that leave the marks of the one before as they are
		v := p.vectors[between]
		want, _ := large.Search(NewSearcher(), p.query(v), 20, 10, nil)
		for range 2 {
			if got, _ := large.Search(s, p.query(v), 20, 10, nil); !slices.Equal(got, want) {
				t.Fatalf("with %d searches between, %v is found, want %v", between, got, want)
			}
			for range between {
				if found, _ := tiny.Search(s, p.query(v), 5, 5, nil); len(found) != 5 {
					t.Fatalf("%v is found", found)
				}
			}
		}
	}
}

// Of candidates, one is chosen that is nearer to the row than to any that was chosen before, and no other is left out.
func TestChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 11))
	s := NewSearcher()
	for range 300 {
		p := scattered(rng, 41, 3)
		if rng.IntN(2) == 0 {
			p = clustered(rng, 41, 3, 4)
		}
		distance := func(a, b uint32) float32 {
			var q Query
			out := make([]float32, 1)
			p.Load(a, &q)
			p.Distances(&q, []uint32{b}, out, nil)
			return out[0]
		}
		var candidates []Candidate
		for row := range uint32(rng.IntN(40)) {
			candidates = append(candidates, Candidate{distance(40, row), row})
		}
		s.SortByDistance(candidates)
		m := 1 + rng.IntN(12)
		chosen := slices.Clone(s.choose(p, candidates, m))
		var want []Candidate
		for _, c := range candidates {
			apart := true
			for _, w := range want {
				apart = apart && distance(w.Row, c.Row) >= c.Distance
			}
			if apart && len(want) < m {
				want = append(want, c)
			}
		}
		if !slices.Equal(chosen, want) {
			t.Fatalf("of %v, %v are chosen, want %v", candidates, chosen, want)
		}
	}
}

// A list that is full is pruned to what would be chosen of it, half as many as the slack of the base layer allows, and a
// list that is not gets one link more.
func TestAddLink(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 13))
	for range 200 {
		p := scattered(rng, 60, 6)
		mem := newMemory(small, 60)
		mem.level[0], mem.upper[0] = 1, [][]uint32{make([]uint32, small.UpperWords())}
		g := New(small, p, mem, 60)
		g.block.to = 60
		for level, keep := range []int{2 * small.M, small.M} {
			list := g.list(0, level)
			var q Query
			p.Load(0, &q)
			for row := uint32(1); row < 60; row++ {
				before := slices.Clone(list[1 : 1+list[0]])
				g.addLink(NewSearcher(), 0, row, level)
				got := list[1 : 1+list[0]]
				want := append(before, row)
				if len(before) == len(list)-1 {
					var pool []Candidate
					for _, id := range want {
						pool = append(pool, Candidate{Row: id})
					}
					s := NewSearcher()
					s.pool = pool
					g.refine(s, &q)
					want = nil
					for _, c := range s.choose(p, s.pool, keep) {
						want = append(want, c.Row)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("layer %d: %v and %d became %v, want %v", level, before, row, got, want)
				}
				g.addLink(NewSearcher(), 0, want[0], level)
				if !slices.Equal(list[1:1+list[0]], want) {
					t.Fatalf("layer %d: a link that is there was added", level)
				}
			}
		}
	}
}

// What a list has of a block that a process died over, and that was longer than the one that is linked, is left out.
func TestAddLinkForgetsRowsThatAreNotThere(t *testing.T) {
	p := scattered(rand.New(rand.NewPCG(1, 17)), 60, 6)
	mem := newMemory(small, 60)
	g := New(small, p, mem, 60)
	g.block.to = 40
	list := g.list(0, 0)
	for i := range list[1:] {
		list[1+i] = uint32(60 + i)
	}
	list[0], list[1] = uint32(len(list)-1), 7
	g.addLink(NewSearcher(), 0, 30, 0)
	if got := list[1 : 1+list[0]]; len(got) == 0 || slices.Max(got) >= 40 {
		t.Errorf("the list became %v", got)
	}
}

// A row is in layer l with probability M^-l.
func TestLevels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 12))
	for _, m := range []int{2, 8, 16, 128} {
		cfg := Config{M: m, EfConstruction: 200}
		const n = 400_000
		var at [MaxLevel + 1]int
		for range n {
			for level := range cfg.LevelOf(rng.Uint64()) + 1 {
				at[level]++
			}
		}
		for level, got := range at {
			want := n * math.Pow(float64(m), -float64(level))
			if off := math.Abs(float64(got) - want); off > 5*math.Sqrt(want)+1 {
				t.Errorf("M %d: %d rows are in layer %d, want %.0f", m, got, level, want)
			}
		}
		if a, b := cfg.LevelOf(0), cfg.LevelOf(math.MaxUint64); a > MaxLevel || a < 1 || b != 0 {
			t.Errorf("M %d: the levels at the ends are %d and %d", m, a, b)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		cfg Config
		ok  bool
	}{
		{DefaultConfig(), true}, {small, true}, {Config{2, 2}, true}, {Config{128, 10_000}, true},
		{Config{1, 10}, false}, {Config{129, 200}, false}, {Config{16, 15}, false}, {Config{16, 10_001}, false}, {Config{}, false}, {Config{-1, -1}, false},
	} {
		if err := tc.cfg.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
	}
	if small.LinkWords() != 25 || small.UpperWords() != 9 || New(small, nil, nil, 7).Config() != small {
		t.Errorf("lists of %d and %d words", small.LinkWords(), small.UpperWords())
	}
}

func TestSpread(t *testing.T) {
	for _, threads := range []int{0, 1, 2, 5, 50} {
		for _, n := range []int{0, 1, 2, 33} {
			counts := make([]atomic.Int32, n)
			Spread(threads, n, func(thread, i int) {
				if thread < 0 || thread >= max(threads, 1) {
					t.Errorf("thread %d of %d", thread, threads)
				}
				counts[i].Add(1)
			})
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Errorf("%d threads: %d was done %d times", threads, i, c)
				}
			}
			func() {
				defer func() {
					if v := recover(); (n > 0) != (fmt.Sprint(v) == "mine") {
						t.Errorf("%d threads, %d: a panic became %v", threads, n, v)
					}
				}()
				Spread(threads, n, func(int, int) { panic("mine") })
			}()
		}
	}
}
