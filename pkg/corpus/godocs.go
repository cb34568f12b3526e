package corpus

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// GoDocs emits the documentation comments of the Go toolchain whose GOROOT is root, as [FindGoroot] returns it: one
// document for each documented func, method, type, const and var declaration, for each documented entry inside a
// parenthesised group, and for the comment above such a group. It reads every .go file below root/src, commands and
// internal packages included, whatever platform the file is for, except tests, and except what the go command does not
// take for a package either: folders named testdata or vendor, or whose name begins with "." or "_". Unexported
// declarations are included; their metadata "exported" is "false". Package comments belong to no declaration and are
// left out.
//
// The space is the first folder below src ("encoding" for encoding/json). The id is the import path and the symbol,
// "encoding/json.Decoder.Decode", for a group "os.const(O_RDONLY)". Where a package declares a symbol more than once,
// for several platforms, each of them has its file in the id: "os.ProcessState.Pid@exec_posix.go". The text is the
// comment on one line after the symbol, "json.Decoder.Decode: Decode reads ...", cut at MaxText. The documents of one
// folder are kept until it is read, to know which symbols repeat.
//
// The errors: emit's own; ctx's; one that wraps [ErrNoToolchain] when there is no root/src; one that wraps [ErrNothing];
// a [*SkippedError] after everything else has been emitted.
func GoDocs(ctx context.Context, root string, emit func(Document) error) error {
	src := filepath.Join(root, "src")
	if info, err := os.Stat(src); err != nil || !info.IsDir() {
		return fmt.Errorf("%w (there is no folder %s)", ErrNoToolchain, src)
	}
	want := func(rel string, dir bool) bool {
		name := path.Base(rel)
		if dir {
			return !skipDir(name) && !strings.HasPrefix(name, "_") && name != "testdata"
		}
		return isGo(name)
	}
	parse := func(rel string, src []byte) ([]Document, error) {
		g, err := parseGo(rel, src)
		docs := make([]Document, 0, len(g.decls))
		for _, d := range g.decls {
			if d.kind != "package" {
				doc := g.document(rel, d)
				doc.Space = SpaceName(firstElement(rel, "src"))
				docs = append(docs, doc)
			}
		}
		return docs, err
	}
	c := collector{emit: emit, where: src}
	var p packageDocs
	take := func(f parsed) error {
		if dir := path.Dir(f.rel); dir != p.dir {
			if err := p.flush(&c); err != nil {
				return err
			}
			p.dir = dir
		}
		p.add(f)
		return c.note(f.err)
	}
	if err := walk(ctx, src, want, parse, take); err != nil {
		return err
	}
	if err := p.flush(&c); err != nil {
		return err
	}
	return c.result()
}

// packageDocs is what is known of one folder so far.
type packageDocs struct {
	dir   string
	docs  []Document
	files []string       // the file of each document
	count map[string]int // how often each symbol occurs
	done  idSet          // the ids of this folder that were emitted
}

func (p *packageDocs) add(f parsed) {
	if p.count == nil {
		p.count = map[string]int{}
	}
	for _, d := range f.docs {
		p.docs = append(p.docs, d)
		p.files = append(p.files, path.Base(f.rel))
		p.count[d.Metadata["symbol"]]++
	}
}

// flush emits the documents and forgets them. The ids depend on the folder's files only, not on what came before.
func (p *packageDocs) flush(c *collector) error {
	p.done = idSet{}
	for i, d := range p.docs {
		symbol := d.Metadata["symbol"]
		d.ID = d.Metadata["package"] + "." + symbol
		if p.count[symbol] > 1 {
			d.ID += "@" + p.files[i]
		}
		d.ID = p.done.unique(d.ID)
		if err := c.send(d); err != nil {
			return err
		}
	}
	*p = packageDocs{}
	return nil
}

// isGo says whether a file of this name is Go, and not a test.
func isGo(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, ".")
}

// firstElement is the first folder of a path relative to a root, or the root's own name for a file in the root itself.
func firstElement(rel, root string) string {
	if first, _, ok := strings.Cut(rel, "/"); ok {
		return first
	}
	return root
}
