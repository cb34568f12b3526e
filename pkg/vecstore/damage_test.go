package vecstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// part is a field of a file, as its dump has it.
type part struct {
	at, size int64
	class    string // what it is, without what it says
}

var (
	dumpLine = regexp.MustCompile(`^ *(\d+) +(\d+)  [0-9a-f]{2} [^a-z]*?(?:[0-9a-f]{2} )*(?:[0-9a-f]{2})? *(?:… )? *(.*)$`)
	saying   = regexp.MustCompile(`:.*|"[^"]*"|[-0-9.]+`)
)

// parts returns the fields that the dump of a file prints.
func parts(t *testing.T, name string, b []byte) []part {
	t.Helper()
	var out strings.Builder
	var err error
	switch filepath.Ext(name) {
	case "":
		err = manifest.Dump(&out, b)
	case ".cols", ".sums":
		err = columns.Dump(&out, bytes.NewReader(b), int64(len(b)))
	default:
		err = rows.Dump(&out, bytes.NewReader(b), int64(len(b)))
	}
	must(t, err)
	var all []part
	for line := range strings.Lines(out.String()) {
		m := dumpLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		at, _ := strconv.ParseInt(m[1], 10, 64)
		size, _ := strconv.ParseInt(m[2], 10, 64)
		all = append(all, part{at, size, filepath.Ext(name) + " " + strings.TrimSpace(saying.ReplaceAllString(m[3], ""))})
	}
	return all
}

// ruin is a disk with a shard that was closed cleanly, of which copies are damaged.
type ruin struct {
	t    *testing.T
	h    *history
	mem  *vfs.Mem
	opt  func(vfs.FS) vecstore.Options
	size map[string]int64

	tried, refused, repaired, harmless, undetected int
}

func newRuin(t *testing.T, graph bool) *ruin {
	r := &ruin{t: t, h: eventful(600), mem: vfs.NewMem(), opt: crashOptions, size: map[string]int64{}}
	if !graph {
		r.opt = func(fsys vfs.FS) vecstore.Options {
			opt := crashOptions(fsys)
			opt.GraphRows = 1 << 20
			return opt
		}
	}
	s, _ := open(t, "shard", r.opt(r.mem))
	feed(t, s, r.h, 200)
	must(t, s.Checkpoint(testNow))
	feed(t, s, r.h, r.h.last())
	if graph {
		must(t, s.Link(context.Background(), "large"))
	}
	must(t, s.Close())
	names, err := r.mem.List("shard")
	must(t, err)
	for _, name := range names {
		info, err := r.mem.Stat("shard/" + name)
		must(t, err)
		r.size[name] = info.Size()
	}
	if err := r.judge(r.mem.Kill(), r.noted); err != nil || r.undetected != 0 || r.harmless != 1 {
		t.Fatalf("before any damage: %v", err)
	}
	r.tried, r.harmless = 0, 0
	return r
}

func (r *ruin) content(name string) []byte {
	r.t.Helper()
	f, err := r.mem.Open("shard/" + name)
	must(r.t, err)
	b := make([]byte, r.size[name])
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		r.t.Fatal(err)
	}
	must(r.t, f.Close())
	return b
}

// noted tells whether an open has noticed that something is not as it was left.
func (r *ruin) noted(rec vecstore.Recovery) bool {
	return len(rec.Damaged) > 0 || rec.Torn > 0 || len(rec.Repaired) > 0
}

// judge opens a damaged disk. The shard must be refused, or be what it was; then noticed tells whether the damage was seen.
func (r *ruin) judge(mem *vfs.Mem, noticed func(vecstore.Recovery) bool) error {
	r.tried++
	s, rec, err := vecstore.Open("shard", testSource, r.opt(mem))
	if err != nil {
		if !errors.Is(err, vecstore.ErrCorrupt) && !errors.Is(err, vecstore.ErrVersion) {
			return fmt.Errorf("the error does not say that the directory is to be set aside: %w", err)
		}
		r.refused++
		return nil
	}
	d := &doomed{h: r.h}
	err = d.answers(s, r.h.last())
	if err == nil && d.wanted > 0 && d.found*10 < d.wanted*8 {
		err = fmt.Errorf("a search found %d of %d rows", d.found, d.wanted)
	}
	if err = errors.Join(err, s.Abandon()); err != nil {
		r.undetected++
		return fmt.Errorf("opened as %+v: %w", rec, err)
	}
	if noticed(rec) {
		r.repaired++
	} else {
		r.harmless++
	}
	return nil
}

// harm damages one file of a copy.
func (r *ruin) harm(what, name string, change func(f vfs.File) error, noticed func(vecstore.Recovery) bool) {
	r.t.Helper()
	mem, before := r.mem.Kill(), r.harmless
	f, err := mem.Open("shard/" + name)
	must(r.t, err)
	must(r.t, errors.Join(change(f), f.Close()))
	if err := r.judge(mem, noticed); err != nil {
		r.t.Errorf("%s of %s: %v", what, name, err)
	} else if r.harmless > before {
		r.t.Errorf("%s of %s: nobody noticed", what, name)
	}
}

func flip(at int64, bit int) func(vfs.File) error {
	return func(f vfs.File) error {
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1 << bit
		_, err := f.WriteAt(b, at)
		return err
	}
}

func cutTo(size int64) func(vfs.File) error {
	return func(f vfs.File) error { return f.Truncate(size) }
}

// damaged is what an open says of damage to a graph.
func damaged(rec vecstore.Recovery) bool {
	return len(rec.Damaged) == 1 && rec.Columns == 0 && rec.Rebuilt == 1
}

// of returns the names of the files with an extension.
func (r *ruin) of(ext string) (names []string) {
	for name := range r.size {
		if filepath.Ext(name) == ext {
			names = append(names, name)
		}
	}
	return names
}

// flips flips a bit in so many fields of each class, in each of the files with an extension: the first and the last byte,
// and one between.
func (r *ruin) flips(ext string, each int, noticed func(vecstore.Recovery) bool) {
	r.t.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(len(ext))))
	classes := map[string]int{}
	for _, name := range r.of(ext) {
		all := parts(r.t, name, r.content(name))
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all {
			if classes[p.class]++; classes[p.class] > each {
				continue
			}
			places := map[int64]bool{p.at: true, p.at + p.size - 1: true, p.at + rng.Int64N(p.size): true}
			for at := range places {
				r.harm(fmt.Sprintf("byte %d, %s", at, p.class), name, flip(at, rng.IntN(8)), noticed)
			}
		}
	}
	if r.t.Logf("%q: %d classes", ext, len(classes)); len(classes) < 5 {
		r.t.Errorf("%q: only the classes %v", ext, classes)
	}
}

func (r *ruin) report(min int) {
	r.t.Helper()
	r.t.Logf("%d damages: %d refused, %d repaired, %d harmless, %d undetected", r.tried, r.refused, r.repaired, r.harmless, r.undetected)
	if r.undetected > 0 || r.tried < min || r.refused+r.repaired+r.harmless != r.tried {
		r.t.Errorf("of %d damages, %d were undetected", r.tried, r.undetected)
	}
}

// Every kind of byte of the manifest and of the row log is flipped.
func TestEveryFlipOfTheLogIsDetected(t *testing.T) {
	t.Parallel()
	r := newRuin(t, false)
	r.flips("", 1000, r.noted)
	r.flips(".seg", 3, r.noted)
	r.flips(".idx", 6, r.noted)
	r.report(300)
}

// Every kind of byte of the columns and their checksums is flipped.
func TestEveryFlipOfAGraphIsDetected(t *testing.T) {
	t.Parallel()
	r := newRuin(t, true)
	r.flips(".cols", 1, damaged)
	r.flips(".sums", 2, damaged)
	r.report(80)
}

// The files of the row log are cut at the boundaries of what is in them, and beside them, made longer, and removed.
func TestEveryTruncationOfTheLogIsDetected(t *testing.T) {
	t.Parallel()
	r := newRuin(t, false)
	last := r.content(manifest.Name)
	m, err := manifest.Decode(last)
	must(t, err)
	sealed := m.Segments[len(m.Segments)-1]
	for _, ext := range []string{"", ".seg", ".idx"} {
		for _, name := range r.of(ext) {
			all := parts(t, name, r.content(name))
			for i, p := range all {
				// Of the last segment, what stands behind the part that was sealed is a checkpoint, which can be missed.
				behind := name == fmt.Sprintf("rows-%08d.seg", sealed.ID) && p.at >= sealed.Length
				if i%67 != 0 && i < len(all)-12 && !behind {
					continue
				}
				for _, size := range []int64{p.at, p.at + 1, p.at + p.size/2} {
					if behind && size == sealed.Length {
						r.harm("an end at the seal", name, cutTo(size), func(vecstore.Recovery) bool { return true })
						continue
					}
					r.harm(fmt.Sprintf("an end at %d", size), name, cutTo(size), r.noted)
				}
			}
			r.harm("a byte more", name, func(f vfs.File) error {
				_, err := f.WriteAt([]byte{1}, r.size[name])
				return err
			}, r.noted)
			r.remove(name, r.noted)
		}
	}
	r.report(100)
}

func TestEveryTruncationOfAGraphIsDetected(t *testing.T) {
	t.Parallel()
	r := newRuin(t, true)
	for _, ext := range []string{".cols", ".sums"} {
		for _, name := range r.of(ext) {
			sizes := map[int64]bool{r.size[name] - 1: true, r.size[name] + 1: true, r.size[name] + vfs.PageSize: true}
			for i, p := range parts(t, name, r.content(name)) {
				if i%9 == 0 {
					sizes[p.at], sizes[p.at+1] = true, true
				}
			}
			for size := range sizes {
				r.harm(fmt.Sprintf("an end at %d", size), name, cutTo(size), damaged)
			}
			// Without checksums they are none that anyone could use, which is no damage, and is said.
			r.remove(name, func(rec vecstore.Recovery) bool {
				return rec.Columns == 0 && rec.Rebuilt == 1 && len(rec.Damaged)+len(rec.Repaired) == 1
			})
		}
	}
	r.report(20)
}

func (r *ruin) remove(name string, noticed func(vecstore.Recovery) bool) {
	r.t.Helper()
	mem, before := r.mem.Kill(), r.harmless
	must(r.t, mem.Remove("shard/"+name))
	if err := r.judge(mem, noticed); err != nil || r.harmless > before {
		r.t.Errorf("without %s: %v, and noticed by %d", name, err, before-r.harmless)
	}
}
