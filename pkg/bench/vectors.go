package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
)

// openVectors opens a file of vectors, .npy or IDX. The latter is first written to dir as .npy, where its bytes are
// exact as halves. The file is read, not mapped, so that the resident memory of the process is that of what is measured.
func openVectors(path, dir string) (*npy.Reader, error) {
	images, err := openIDX(path)
	if err != nil {
		return nil, err
	}
	if images == nil {
		return checkedVectors(path)
	}
	defer images.close()
	f, err := os.CreateTemp(dir, "vectors-*.npy")
	if err != nil {
		return nil, fmt.Errorf("writing the rows of %s where they can be read in any order: %w", path, err)
	}
	err = npy.Write(f, npy.Float16, images.rows, images.cols, images.next)
	if err == nil {
		err = images.end()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return checkedVectors(f.Name())
}

func checkedVectors(path string) (*npy.Reader, error) {
	f, err := npy.OpenReader(path)
	if err != nil {
		return nil, err
	}
	if f.Rows() == 0 || f.Cols() > event.MaxDimension {
		err := fmt.Errorf("%s has %d rows of %d components; want rows of up to %d", path, f.Rows(), f.Cols(), event.MaxDimension)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ConvertConfig of a conversion.
type ConvertConfig struct {
	// In is an .npy or IDX file, Out the .npy file of float32 to write.
	In, Out string
	// Rows is how many rows are written, from the first; 0 for all.
	Rows int
}

// Convert writes the rows of any file of vectors that this package reads as .npy of float32, for programs that read
// nothing else. It returns how many rows and columns there are.
func Convert(ctx context.Context, cfg ConvertConfig) (rows, cols int, err error) {
	if cfg.Rows < 0 {
		return 0, 0, fmt.Errorf("--rows is %d; it cannot be negative", cfg.Rows)
	}
	dir, remove, err := daemon.TempDir(ctx, "", "engram-bench-convert-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := apart(cfg.Out, cfg.In); err != nil {
		return 0, 0, err
	}
	in, err := openVectors(cfg.In, dir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	rows, cols = in.Rows(), in.Cols()
	if cfg.Rows > 0 {
		rows = min(rows, cfg.Rows)
	}
	return rows, cols, writeFile(cfg.Out, func(w io.Writer) error {
		return npy.Write(w, npy.Float32, rows, cols, func(i int, dst []float32) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_, err := in.Row(i, dst)
			return err
		})
	})
}

// apart refuses to write over a file that is read: its rows would be gone before they are read.
func apart(out string, ins ...string) error {
	written, err := os.Stat(out)
	if err != nil {
		return nil // a new file, or an error of making it
	}
	for _, in := range ins {
		if read, err := os.Stat(in); err == nil && os.SameFile(read, written) {
			return fmt.Errorf("%s is the file that is read, and would be written over; name another one to write", out)
		}
	}
	return nil
}

// writeFile writes a new file, which is not left behind when that fails.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
