package vfs

import (
	"errors"
	"testing"
)

// Faults in mapped files are tested where there are some: pkg/vecstore/columns and pkg/vecstore/rows.
func TestGuardPassesOtherPanics(t *testing.T) {
	for name, call := range map[string]func() error{
		"an index":      func() error { var none []int; none[0] = 1; return nil },
		"a nil pointer": func() error { var none *Rule; none.N = 1; return nil },
		"a value":       func() error { panic("text") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic was swallowed", name)
				}
			}()
			_ = Guard(call)
		}()
	}
	mine := errors.New("mine")
	if err := Guard(func() error { return mine }); err != mine {
		t.Errorf("an error became %v", err)
	}
}

func BenchmarkGuard(b *testing.B) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		_ = Guard(func() error { n++; return nil })
	}
}
