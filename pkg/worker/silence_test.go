package worker

import (
	"testing"
	"time"
)

// How long the server has been silent, while it is missed, while the log is not followed, and when it speaks again.
func TestSilence(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var s silence
	expect := func(second int, want time.Duration) {
		t.Helper()
		if got := s.age(at(second)); got != want {
			t.Errorf("after %d s the silence lasts %v, want %v", second, got, want)
		}
	}
	expect(0, 0)
	if got := s.missed(at(10)); got != 2*pullHeartbeat {
		t.Errorf("first missed after %v", got)
	}
	expect(11, 3*time.Second)
	if got := s.missed(at(12)); got != 4*time.Second {
		t.Errorf("missed again after %v", got)
	}
	expect(13, 5*time.Second)
	expect(15, 0) // it was missed no more, so it spoke
	if got := s.missed(at(20)); got != 2*pullHeartbeat {
		t.Errorf("missed another time after %v", got)
	}
	s.broke(at(21))
	expect(100, 82*time.Second)
	s.over()
	expect(101, 0)
	s.broke(at(110))
	expect(111, time.Second)
}
