package corpus

import (
	"context"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// groupSize is the size up to which the paragraphs of a section are put together into one document: about what an
	// embedding of a passage is made for.
	groupSize = 1 << 10

	// maxHeading bounds the heading path at the start of a text, so that it cannot crowd out what it stands over.
	maxHeading = 512
)

// Dir emits the text below the folder root, in files named .txt, .md, .markdown, .rst and .go:
//
//   - plain text in groups of paragraphs, up to about 1 KiB together;
//   - Markdown and reStructuredText the same way within each section; the text starts with the headings that it is
//     under, "Install > From source: ...". A section without a paragraph of its own gives no document;
//   - Go as the documentation comments of its declarations, as [GoDocs] describes them, and of its packages.
//
// A paragraph over MaxText bytes becomes several documents. White space is normalised, a line for each paragraph.
//
// The space is the first folder below root, or root's own name for files in root itself, made legal by [SpaceName]. The
// id is the path relative to root and, after "#", the slug of the heading (".2" for the second group under it), the
// symbol in Go, or the number of the group in plain text; "-2" is added to what occurs twice in a file. So an id stays
// when other files change, and may move when its own does.
//
// Left out without a word: folders and files whose name begins with ".", folders named vendor or node_modules, Go
// tests, other file names, and symbolic links, which are not followed (root itself may be one). The errors: emit's own;
// ctx's; one for a root that is no folder; one that wraps [ErrNothing]; and, after everything else was emitted, a
// [*SkippedError] for the files above that are binary, not UTF-8, over MaxFile, or unreadable.
func Dir(ctx context.Context, root string, emit func(Document) error) error {
	base := root
	if abs, err := filepath.Abs(root); err == nil {
		base = abs // "." has no name of its own
	}
	base = filepath.Base(base)
	want := func(rel string, dir bool) bool {
		name := path.Base(rel)
		if dir {
			return !skipDir(name) && name != "node_modules"
		}
		return !strings.HasPrefix(name, ".") && sectionsOf(name) != nil || isGo(name)
	}
	parse := func(rel string, src []byte) ([]Document, error) {
		var docs []Document
		var err error
		if isGo(rel) {
			docs, err = goDocuments(rel, src)
		} else {
			docs = sectionDocuments(rel, sectionsOf(rel)(string(src)))
		}
		space := SpaceName(firstElement(rel, base))
		for i := range docs {
			docs[i].Space = space
			docs[i].Metadata["path"] = rel
		}
		return docs, err
	}
	c := collector{emit: emit, where: root + " (.txt, .md, .markdown, .rst and .go files are read)"}
	take := func(f parsed) error {
		for _, d := range f.docs {
			if err := c.send(d); err != nil {
				return err
			}
		}
		return c.note(f.err)
	}
	if err := walk(ctx, root, want, parse, take); err != nil {
		return err
	}
	return c.result()
}

// sectionsOf returns what splits a file of this name into sections, nil if the name is not one of text.
func sectionsOf(name string) func(string) []section {
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".markdown":
		return markdownSections
	case ".rst":
		return rstSections
	case ".txt":
		return textSections
	default:
		return nil
	}
}

// goDocuments are the documents of a Go file on its own, with ids.
func goDocuments(rel string, src []byte) ([]Document, error) {
	g, err := parseGo(rel, src)
	ids := idSet{}
	docs := make([]Document, 0, len(g.decls))
	for _, d := range g.decls {
		doc := g.document(rel, d)
		anchor := d.symbol
		if anchor == "" {
			anchor = "package"
		}
		doc.ID = ids.unique(rel + "#" + anchor)
		docs = append(docs, doc)
	}
	return docs, err
}

// sectionDocuments groups the paragraphs of each section into documents with ids.
func sectionDocuments(rel string, sections []section) []Document {
	ids := idSet{}
	var docs []Document
	for _, s := range sections {
		heading := strings.Join(s.path, " > ")
		anchor, prefix := "", ""
		if heading != "" {
			anchor = slug(s.path[len(s.path)-1])
			prefix = cut(heading, maxHeading) + ": "
		}
		for i, p := range groups(s.paragraphs, MaxText-len(prefix)) {
			id := strconv.Itoa(i + 1)
			if anchor != "" {
				id = anchor
				if i > 0 {
					id += "." + strconv.Itoa(i+1)
				}
			}
			meta := map[string]string{}
			if heading != "" {
				meta["heading"] = heading
			}
			docs = append(docs, Document{
				ID:       ids.unique(rel + "#" + id),
				Text:     prefix + p.text,
				Source:   rel + ":" + strconv.Itoa(p.line),
				Metadata: meta,
			})
		}
	}
	return docs
}

// groups puts neighbouring paragraphs together up to groupSize, and takes those over limit apart.
func groups(in []paragraph, limit int) []paragraph {
	var out []paragraph
	for _, p := range in {
		last := len(out) - 1
		if last >= 0 && len(out[last].text)+1+len(p.text) <= groupSize {
			out[last].text += "\n" + p.text
			continue
		}
		for _, text := range pieces(p.text, limit) {
			out = append(out, paragraph{line: p.line, text: text})
		}
	}
	return out
}
