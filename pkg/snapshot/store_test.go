package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vfs"
)

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// stores are one of each kind, empty, on real servers and disks.
func stores() map[string]func(t *testing.T) snapshot.Store {
	open := func(t *testing.T, place string) snapshot.Store {
		t.Helper()
		s, err := snapshot.Open(within(t), place, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return map[string]func(t *testing.T) snapshot.Store{
		"directory": func(t *testing.T) snapshot.Store { return open(t, "dir:"+t.TempDir()) },
		"directory in memory": func(t *testing.T) snapshot.Store {
			s, err := snapshot.NewDir(vfs.NewMem(), "a/b", "test")
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"bucket": func(t *testing.T) snapshot.Store {
			conn := bustest.Start(t).Connect()
			if _, _, err := bus.EnsureTopology(within(t), conn.JS, bus.TopologyConfig{Shards: 1}); err != nil {
				t.Fatal(err)
			}
			s, err := snapshot.Open(within(t), snapshot.PlaceBucket, "test", conn.JS)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"S3": func(t *testing.T) snapshot.Store { return open(t, startS3(t)) },
	}
}

// startS3 runs a server that speaks S3, and returns the place of a store there.
func startS3(t *testing.T) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("snapshots"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "s3://snapshots/engram/a?insecure=true&region=us-east-1&endpoint=" + strings.TrimPrefix(server.URL, "http://")
}

func names(blobs []snapshot.Blob) (out []string) {
	for _, b := range blobs {
		out = append(out, b.Name)
	}
	return out
}

// What every store promises.
func TestStores(t *testing.T) {
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			ctx, s := within(t), open(t)
			list := func(prefix string, want ...string) {
				t.Helper()
				blobs, err := s.List(ctx, prefix)
				if err != nil || !slices.Equal(names(blobs), want) {
					t.Errorf("the blobs with %q are %q, want %q: %v", prefix, names(blobs), want, err)
				}
			}
			list("")
			if _, err := s.Get(ctx, "a/0/1/none"); !errors.Is(err, snapshot.ErrNotFound) {
				t.Errorf("of nothing: %v", err)
			}
			if err := s.Delete(ctx, "a/0/1/none"); err != nil {
				t.Errorf("removing nothing: %v", err)
			}
			large := bytes.Repeat([]byte("0123456789abcdef"), snapshot.ChunkSize/16)
			blobs := map[string][]byte{
				"a/0/1/chunk-1": large, "a/0/1/chunk-2": []byte("x"), "a/0/10/chunk-1": []byte("another"), "a/1/1/snapshot": []byte("y"), "b": []byte("z"),
			}
			for name, b := range blobs {
				if err := s.Put(ctx, name, b); err != nil {
					t.Fatal(err)
				}
			}
			list("", "a/0/1/chunk-1", "a/0/1/chunk-2", "a/0/10/chunk-1", "a/1/1/snapshot", "b")
			list("a/0/1/", "a/0/1/chunk-1", "a/0/1/chunk-2")
			list("a/0/1", "a/0/1/chunk-1", "a/0/1/chunk-2", "a/0/10/chunk-1")
			list("a/0/1/chunk-2", "a/0/1/chunk-2")
			list("c/")
			for name, want := range blobs {
				if got, err := s.Get(ctx, name); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(want), err)
				}
			}
			found, err := s.List(ctx, "a/0/1/chunk-1")
			if err != nil || len(found) != 1 || found[0].Size != int64(len(large)) {
				t.Errorf("%+v, %v", found, err)
			}
			// Replaced, by something shorter, and removed.
			if err := s.Put(ctx, "a/0/1/chunk-1", []byte("short")); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(ctx, "a/0/1/chunk-1"); err != nil || string(got) != "short" {
				t.Errorf("%q, %v", got, err)
			}
			if err := s.Delete(ctx, "a/0/1/chunk-1"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(ctx, "a/0/1/chunk-1"); !errors.Is(err, snapshot.ErrNotFound) {
				t.Errorf("after it was removed: %v", err)
			}
			list("a/0/1/", "a/0/1/chunk-2")
			if err := s.Put(ctx, "a/0/1/chunk-1", []byte("again")); err != nil {
				t.Fatal(err)
			}
			list("a/0/1/", "a/0/1/chunk-1", "a/0/1/chunk-2")

			canceled, cancel := context.WithCancel(ctx)
			cancel()
			if err := s.Put(canceled, "a/late", []byte("x")); err == nil {
				t.Error("a blob was stored when its context had ended")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// No name leads out of the store, whatever a manifest or a caller says.
func TestNamesThatNoStoreTakes(t *testing.T) {
	bad := []string{
		"", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", ".", "a/.hidden", "-a", "a\\b", "a b", "A", "a\x00", "ä", "a*", "a>", strings.Repeat("a", 256),
	}
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			ctx, s := within(t), open(t)
			for _, name := range bad {
				_, err := s.Get(ctx, name)
				if err == nil || errors.Is(err, snapshot.ErrNotFound) {
					t.Errorf("Get of %q: %v", name, err)
				}
				if s.Put(ctx, name, []byte("x")) == nil {
					t.Errorf("%q was stored", name)
				}
				if s.Delete(ctx, name) == nil {
					t.Errorf("%q was removed", name)
				}
			}
			if found, err := s.List(ctx, ""); err != nil || len(found) > 0 {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

// Several goroutines store, read and remove at once.
func TestStoresConcurrently(t *testing.T) {
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			ctx, s := within(t), open(t)
			errs := make(chan error)
			const workers = 4
			for w := range workers {
				go func() {
					for i := range 5 {
						name := fmt.Sprintf("a/%d/%d", w, i)
						err := s.Put(ctx, name, []byte(name))
						if err == nil {
							var b []byte
							if b, err = s.Get(ctx, name); err == nil && string(b) != name {
								err = fmt.Errorf("%s has %q", name, b)
							}
						}
						if err == nil && i%2 == 0 {
							err = s.Delete(ctx, name)
						}
						if err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for range workers {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if found, err := s.List(ctx, "a/"); err != nil || len(found) != 2*workers {
				t.Errorf("%d blobs, want %d: %v", len(found), 2*workers, err)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for place, good := range map[string]bool{
		"bucket": true, "dir:/var/snapshots": true, "s3://b": true, "s3://b/p/q?endpoint=127.0.0.1:9000&insecure=true&region=x": true,
		"": false, "dir:": false, "dir:relative": false, "/var/snapshots": false, "s3://": false, "s3://key:secret@b": false, "s3://b/../c": false,
		"s3://b?endpoit=x": false, "s3://b?insecure=perhaps": false, "Bucket": false,
	} {
		if err := snapshot.CheckPlace(place); (err == nil) != good {
			t.Errorf("%q: %v", place, err)
		} else if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	if _, err := snapshot.Open(within(t), snapshot.PlaceBucket, "test", nil); err == nil {
		t.Error("the bucket was opened without a connection")
	}
}
