package history

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// A ledger's file has what the ledger has; what was begun and never returned is there with an unknown outcome, and a torn
// last line, as a crash leaves it, is passed over.
func TestLedgerIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	begun := Write{Number: 1, Space: "s", ID: "a", Call: time.Second, WriteID: "k"}
	lost := Write{Number: 2, Space: "s", ID: "b", Call: time.Second, Forget: true}
	l.Write(begun, lost)
	done := begun
	done.Outcome, done.Position, done.Return = Accepted, 7, 2*time.Second
	l.Write(done)
	l.Answer(Answer{How: "get", Space: "s", Applied: 7, Asked: []string{"a"}, Hits: []Hit{{"a", 1, 7}}})
	want := &History{Writes: []*Write{&done, &lost}, Answers: []*Answer{{How: "get", Space: "s", Applied: 7, Asked: []string{"a"}, Hits: []Hit{{"a", 1, 7}}}}}
	if got := l.History(); !reflect.DeepEqual(got, want) {
		t.Errorf("the ledger has %+v, want %+v", got, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", `{"write":{"n":3,"spa`} {
		got, err := Load(bytes.NewReader(append(data, tail...)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with %q behind it the file gives %+v, %v", tail, got, err)
		}
	}
	if _, err := Load(bytes.NewReader([]byte("{]"))); err == nil {
		t.Error("what is no ledger was read")
	}
	if _, err := Create(path); err == nil {
		t.Error("a ledger was overwritten")
	}
}
