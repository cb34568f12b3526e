package logging

import (
	"os"
	"testing"
)

// The controlling side of a pseudo-terminal is a terminal too, and needs no shell.
func TestTerminalIsRecognised(t *testing.T) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !isTerminal(f) {
		t.Error("a pseudo-terminal is not seen as a terminal")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Errorf("%s is seen as a terminal", os.DevNull)
	}
}
