package rows

import (
	"fmt"
	"reflect"
	"testing"
)

func TestSegmentsRoll(t *testing.T) {
	for _, size := range []int64{1, 300, 1000, 0} {
		for _, mode := range []Mode{Verified, Trusted, Distrusted} {
			t.Run(fmt.Sprintf("%d %v", size, mode), func(t *testing.T) {
				w := newWorld(t, size)
				l, rec := w.open(mode)
				if !reflect.DeepEqual(rec, Recovery{Mode: mode}) {
					t.Errorf("Open of an empty directory = %+v", rec)
				}
				fill(t, l, 1, 30, 10, 20)
				checkpoint(t, l)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if want := map[int64]int{1: 33, 300: 17, 1000: 3, 0: 1}[size]; len(w.list) != want || len(w.disk().files) != 2*want {
					t.Errorf("%d segments and %d files, want %d segments", len(w.list), len(w.disk().files), want)
				}
				l, rec = w.open(mode)
				if rec.Mode != mode || rec.Doubt != nil || rec.Bytes != l.Bytes() {
					t.Errorf("Open = %+v", rec)
				}
				if rec.Torn != 0 || rec.IndexRepaired != 0 || rec.Strays != 0 {
					t.Errorf("Open = %+v", rec)
				}
				if want := 30 + 2*4 + 3; rec.Entries != want {
					t.Errorf("%d entries, want %d", rec.Entries, want)
				}
				if l.Durable() != 30 {
					t.Errorf("Durable() = %d, want 30", l.Durable())
				}
				w.wantThrough(l, 30)
				fill(t, l, 31, 31)
				l.Close()
				l, _ = w.open(Trusted)
				w.wantThrough(l, 31)
			})
		}
	}
}
