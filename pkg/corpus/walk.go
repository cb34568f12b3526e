package corpus

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	maxParsers = 8 // more would only wait for the disk, or for the one that emits

	// window is how many files may be parsed ahead of the one that is being emitted. It keeps the parsers busy while a
	// large file is slow, and bounds the memory.
	window = 16
)

// file is one file on its way through a walk.
type file struct {
	rel string        // path relative to the root, with slashes
	abs string        // path to open it by
	out chan<- parsed // takes exactly one value, without blocking
}

// parsed is what became of a file. Both may be set: what could be parsed, and why the rest could not.
type parsed struct {
	rel  string
	docs []Document
	err  error
}

// walk finds the regular files below root that want accepts, by path relative to root; want is also asked about folders
// (dir true) and refuses to enter one by false. Symbolic links are not followed, except root itself. Each file's content
// goes through parse, which several goroutines call at once, and the results go to take on the calling goroutine, sorted by
// name: a folder's files, then its folders. An error of take ends the walk and is returned.
func walk(ctx context.Context, root string, want func(rel string, dir bool) bool,
	parse func(rel string, src []byte) ([]Document, error), take func(parsed) error,
) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return fmt.Errorf("opening the folder to read: %w", err)
	}
	info, err := os.Stat(root)
	if err != nil {
		return fmt.Errorf("opening the folder to read: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file, and a folder is needed here", root)
	}

	ctx, cancel := context.WithCancel(ctx)
	work := make(chan file)
	ordered := make(chan (<-chan parsed), window)
	var wg sync.WaitGroup
	// The order matters: cancel is what lets the goroutines end before the walk does.
	defer wg.Wait()
	defer cancel()

	wg.Go(func() {
		defer close(ordered)
		defer close(work)
		// Its only error is ctx's, which the loop below sees too.
		_ = finder{want, work, ordered}.folder(ctx, root, ".")
	})
	for range min(runtime.GOMAXPROCS(0), maxParsers) {
		wg.Go(func() {
			for f := range work {
				src, err := readText(f.abs)
				p := parsed{rel: f.rel, err: err}
				if err == nil {
					p.docs, p.err = parse(f.rel, src)
				}
				f.out <- p
			}
		})
	}
	for out := range ordered {
		select {
		case p := <-out:
			if err := take(p); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// finder is the one goroutine that lists folders.
type finder struct {
	want    func(rel string, dir bool) bool
	work    chan<- file
	ordered chan<- (<-chan parsed)
}

// folder sends each wanted file below a folder to work, and where its result will be to ordered: first the folder's own
// files, so that they come one after the other, then what is in its folders. It returns only ctx's error; a folder that
// cannot be listed is a result like any other.
func (s finder) folder(ctx context.Context, abs, rel string) error {
	entries, err := os.ReadDir(abs) // sorted; entries before an error come with it
	if err != nil {
		out := make(chan parsed, 1)
		out <- parsed{rel: rel, err: err}
		if err := send[<-chan parsed](ctx, s.ordered, out); err != nil {
			return err
		}
	}
	for _, e := range entries {
		rel := path.Join(rel, e.Name())
		if !e.Type().IsRegular() || !s.want(rel, false) {
			continue
		}
		out := make(chan parsed, 1)
		if err := send[<-chan parsed](ctx, s.ordered, out); err != nil {
			return err
		}
		f := file{rel: rel, abs: filepath.Join(abs, e.Name()), out: out}
		if err := send(ctx, s.work, f); err != nil {
			return err
		}
	}
	for _, e := range entries {
		rel := path.Join(rel, e.Name())
		if !e.IsDir() || !s.want(rel, true) {
			continue
		}
		if err := s.folder(ctx, filepath.Join(abs, e.Name()), rel); err != nil {
			return err
		}
	}
	return nil
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readText reads the file at path and refuses what is not text. The errors name the path.
func readText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxFile:
		return nil, fmt.Errorf("%s: larger than %d MiB", path, MaxFile>>20)
	case bytes.IndexByte(b[:min(len(b), 8<<10)], 0) >= 0:
		return nil, fmt.Errorf("%s: binary, there is a NUL byte in it", path)
	case !utf8.Valid(b):
		return nil, fmt.Errorf("%s: not valid UTF-8", path)
	}
	return b, nil
}

// skipDir says whether neither kind of walk enters a folder of this name.
func skipDir(name string) bool {
	return strings.HasPrefix(name, ".") || name == "vendor"
}
