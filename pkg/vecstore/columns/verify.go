package columns

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Seal makes the file durable and stores the checksums of all of its blocks beside it, for the Verify of a later Open: the
// last thing before a clean Close. Nobody may write to the file from the call on; what is written all the same is found
// by Verify. The blocks are spread over threads goroutines.
func (f *File) Seal(threads int) error {
	if err := f.Sync(); err != nil {
		return err
	}
	err := f.hold(func() error {
		maps := f.mappings()
		blocks := f.header.Layout.blocks(len(maps) - 1)
		c := checksums{fileBytes: f.header.Layout.chunkOffset(len(maps) - 1), sums: make([]uint32, len(blocks))}
		err := f.sum(context.Background(), threads, blocks, func(i int, sum uint32) { c.sums[i] = sum })
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if err := f.writeSums(c); err != nil {
			return errors.Join(err, removeIfThere(f.fs, SumsPath(f.path)))
		}
		f.stale = true
		// The names of both files.
		return f.fs.SyncDir(filepath.Dir(f.path))
	})
	if err != nil {
		return fmt.Errorf("sealing columns %s: %w", f.path, err)
	}
	return nil
}

// Verify compares the whole file with the checksums that were found at Open, before anything is written to it. The error
// is ErrCorrupt and names the first block that differs; ErrNotSealed when there are no checksums. The blocks are spread
// over threads goroutines.
func (f *File) Verify(ctx context.Context, threads int) error {
	err := f.hold(func() error {
		if f.sealErr != nil {
			return f.sealErr
		}
		if f.sealed == nil {
			return ErrNotSealed
		}
		blocks := f.header.Layout.blocks(len(f.mappings()) - 1)
		if len(blocks) != len(f.sealed.sums) {
			return fmt.Errorf("%w: the file has grown since it was opened", ErrNotSealed)
		}
		differs := make([]bool, len(blocks))
		err := f.sum(ctx, threads, blocks, func(i int, sum uint32) { differs[i] = sum != f.sealed.sums[i] })
		if err != nil {
			return err
		}
		first, n := slices.Index(differs, true), 0
		for _, d := range differs {
			if d {
				n++
			}
		}
		if n > 0 {
			return fmt.Errorf("%w: %s is not as it was written; %d blocks of %d differ", ErrCorrupt, blocks[first], n, len(blocks))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verifying columns %s: %w", f.path, err)
	}
	return nil
}

// Settle computes the checksums of the sketches, codes and sequences of a chunk, in memory, so that VerifyBlock can find out
// later whether they are still the same. The owner calls it for a chunk whose rows are all there, and again whenever it
// has changed any of that.
func (f *File) Settle(chunk int) error {
	err := f.hold(func() error {
		if chunk < 0 || chunk >= len(f.mappings())-1 {
			return fmt.Errorf("there is no chunk %d", chunk)
		}
		blocks := f.header.Layout.chunkBlocks(nil, chunk, hot)
		sums := make([]uint32, len(blocks))
		if err := f.sum(context.Background(), 1, blocks, func(i int, sum uint32) { sums[i] = sum }); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if at, ok := f.settledAt(chunk); ok {
			f.settled[at].sums = sums
		} else {
			f.settled = slices.Insert(f.settled, at, settledChunk{chunk, sums})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settling columns %s: %w", f.path, err)
	}
	return nil
}

// SettledBlocks is how many blocks VerifyBlock can verify.
func (f *File) SettledBlocks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.settled) * f.header.Layout.chunkBlockCount(hot)
}

// VerifyBlock compares block i, below SettledBlocks, with its checksum: a step of a scrubber. A block has up to 256 KiB;
// one that is not in memory is read from the disk, one that is there shows what the memory holds. The error is ErrCorrupt
// or vfs.ErrFault and names the block.
func (f *File) VerifyBlock(i int) error {
	err := f.hold(func() error {
		b, want, err := f.settledBlock(i)
		if err != nil {
			return err
		}
		var got uint32
		if err := f.sum(context.Background(), 1, []block{b}, func(_ int, sum uint32) { got = sum }); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%w: %s is not as it was written", ErrCorrupt, b)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verifying columns %s: %w", f.path, err)
	}
	return nil
}

func (f *File) settledBlock(i int) (b block, sum uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	per := f.header.Layout.chunkBlockCount(hot)
	if i < 0 || i >= len(f.settled)*per {
		return block{}, 0, fmt.Errorf("there is no settled block %d", i)
	}
	s := f.settled[i/per]
	return f.header.Layout.chunkBlocks(nil, s.chunk, hot)[i%per], s.sums[i%per], nil
}

// sum calls visit, from several goroutines, with the checksum of each block.
func (f *File) sum(ctx context.Context, threads int, blocks []block, visit func(i int, sum uint32)) error {
	maps := f.mappings()
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(max(threads, 1), len(blocks)) {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= len(blocks) {
					return nil
				}
				b := blocks[i]
				at := b.offset
				if b.chunk >= 0 {
					at -= f.header.Layout.chunkOffset(b.chunk)
				}
				err := vfs.Guard(func() error {
					visit(i, crc32.Checksum(maps[b.chunk+1].Bytes()[at:at+b.length], castagnoli))
					return nil
				})
				if err != nil {
					return fmt.Errorf("%s: %w", b, err)
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
