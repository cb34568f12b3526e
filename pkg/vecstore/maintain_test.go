package vecstore

import (
	"fmt"
	"testing"
	"time"
)

// What is mapped of the row log is let go a minute after it was read last at the latest, however long maintenance is at
// something else.
func TestWindowsAreCooledWhileMaintenanceIsBusy(t *testing.T) {
	const n, dim = 600, 2048 // more than a window
	s := rowsOf(t, Definition{Dimension: dim, Metric: Dot}, rowVectors(n, dim, func(v []float32, i int) { v[i] = 1 }), 0)
	s.maintainer.stop() // as if it were at a large compaction
	s.opt.TailBytes = 1 << 40
	now := time.Now()
	for second := range 9 { // a checkpoint a second
		if err := s.Checkpoint(now.Add(time.Duration(second) * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if rows, err := s.Get("s", []string{fmt.Sprint(i)}, At{Now: now}); err != nil || len(rows) != 1 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
	}
	if s.opt.Maps.Bytes() == 0 {
		t.Fatal("nothing is mapped")
	}
	read := now.Add(9 * time.Second)
	for after := time.Duration(0); s.opt.Maps.Bytes() > 0; after += time.Second {
		if after > time.Minute {
			t.Fatalf("%d bytes are mapped %v after they were read", s.opt.Maps.Bytes(), after)
		}
		if err := s.Checkpoint(read.Add(after)); err != nil {
			t.Fatal(err)
		}
		if s.opt.Maps.Bytes() == 0 && after < 30*time.Second {
			t.Errorf("they are let go %v after they were read", after)
		}
	}
	if err := s.Maintenance(); err != nil {
		t.Error(err)
	}
}
