package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// memSector is what a disk writes as a whole.
const memSector = 512

// Kill returns a copy of the file system as the death of the process leaves it: with everything that was written,
// whether it was synced or not, and with the same Identity. What was not synced is as liable to be lost in the copy as
// it was here. The file system itself, and what is open in it, goes on as before.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := cloner{
		nodes:       map[*memNode]*memNode{},
		names:       func(n *memNode) map[string]*memNode { return n.names },
		data:        (*memData).clone,
		withDurable: true,
	}
	dead := &Mem{boot: m.boot, inodes: m.inodes, root: c.node(m.root)}
	for _, p := range m.pending {
		moved := nameChange{node: c.node(p.node)}
		for _, s := range p.sets {
			to := nameSet{dir: c.node(s.dir), name: s.name}
			if s.to != nil {
				to.to = c.node(s.to)
			}
			moved.sets = append(moved.sets, to)
		}
		dead.pending = append(dead.pending, moved)
	}
	return dead
}

// LosePower returns a copy of the file system as a loss of power leaves it, with another Identity: files as they were
// when they were last synced, under the names that SyncDir made durable. Of what was done since then, rng decides what
// has reached the disk all the same, since a kernel may write anything at any time: each sector of 512 bytes that
// changed, the size (the old one, the new one, or one between), and each name that was made, renamed or removed. When rng
// is nil, nothing of it has.
//
// The file system itself, and what is open in it, goes on as before.
func (m *Mem) LosePower(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := m.survivingNames(rng)
	c := cloner{
		nodes: map[*memNode]*memNode{},
		names: func(n *memNode) map[string]*memNode {
			if n, ok := names[n]; ok {
				return n
			}
			return n.durable
		},
		data: func(d *memData) *memData { return d.losePower(rng) },
	}
	root := c.node(m.root)
	for _, n := range c.nodes {
		n.durable = maps.Clone(n.names)
	}
	return &Mem{boot: rand.Uint64(), inodes: m.inodes, root: root}
}

// survivingNames are those of the directories in which changes that are pending have been made after all. A change that
// is made brings those of the same node before it along: a file that was renamed twice has one name.
func (m *Mem) survivingNames(rng *rand.Rand) map[*memNode]map[string]*memNode {
	made := make([]bool, len(m.pending))
	moved := map[*memNode]bool{}
	for i := len(m.pending) - 1; i >= 0 && rng != nil; i-- {
		node := m.pending[i].node
		made[i] = moved[node] || rng.IntN(2) == 0
		moved[node] = made[i]
	}
	names := map[*memNode]map[string]*memNode{}
	for i, c := range m.pending {
		if !made[i] {
			continue
		}
		for _, s := range c.sets {
			if names[s.dir] == nil {
				names[s.dir] = maps.Clone(s.dir.durable)
			}
			s.apply(names[s.dir])
		}
	}
	return names
}

// cloner copies nodes, each once.
type cloner struct {
	nodes map[*memNode]*memNode
	names func(*memNode) map[string]*memNode
	data  func(*memData) *memData
	// withDurable copies the durable names too.
	withDurable bool
}

// node goes through names in order, so that the same random numbers give the same file system.
func (c cloner) node(n *memNode) *memNode {
	if done, ok := c.nodes[n]; ok {
		return done
	}
	copied := &memNode{inode: n.inode}
	c.nodes[n] = copied
	if !n.isDir() {
		copied.data = c.data(n.data)
		return copied
	}
	copied.names, copied.durable = map[string]*memNode{}, map[string]*memNode{}
	names := c.names(n)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		copied.names[name] = c.node(names[name])
	}
	for name, durable := range n.durable {
		if c.withDurable {
			copied.durable[name] = c.node(durable)
		}
	}
	return copied
}

func (d *memData) clone() *memData {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &memData{size: d.size, syncedSize: d.syncedSize, pages: make([]memPage, len(d.pages))}
	for i, p := range d.pages {
		n.pages[i] = memPage{data: cloneUnraced(p.data), synced: cloneUnraced(p.synced), lost: cloneUnraced(p.lost), lostSet: p.lostSet, dirty: p.dirty}
	}
	return n
}

func cloneUnraced(b []byte) []byte {
	if b == nil {
		return nil
	}
	c := make([]byte, len(b))
	copyUnraced(c, b)
	return c
}

func (d *memData) losePower(rng *rand.Rand) *memData {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &memData{size: d.syncedSize}
	if rng != nil && d.size != d.syncedSize {
		switch low, high := min(d.size, d.syncedSize), max(d.size, d.syncedSize); rng.IntN(3) {
		case 0:
			n.size = d.size
		case 1:
			n.size = low + rng.Int64N(high-low)
		}
	}
	for i := range d.pages {
		p := &d.pages[i]
		// A page of nothing but zeros stays nil, and costs nothing.
		data := cloneUnraced(p.synced)
		for at := 0; rng != nil && (p.dirty || p.mapped > 0) && at < PageSize; at += memSector {
			now := block(p.data, at, memSector)
			if equalUnraced(now, block(p.synced, at, memSector)) || rng.IntN(2) == 0 {
				continue
			}
			if data == nil {
				data = make([]byte, PageSize)
			}
			copyUnraced(data[at:], now)
		}
		if keep := n.size - int64(i)*PageSize; data != nil && keep < PageSize {
			clear(data[max(keep, 0):])
		}
		n.pages = append(n.pages, memPage{data: data, synced: cloneUnraced(data)})
	}
	n.syncedSize = n.size
	return n
}
