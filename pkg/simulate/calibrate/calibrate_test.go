package calibrate

import (
	"os"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/simulate"
)

// The run replaces what depends on the machine, leaves the rest, and leaves no file behind.
func TestRun(t *testing.T) {
	dir, before := t.TempDir(), simulate.Measured()
	c, err := Run(t.Context(), Config{Dim: 16, Observations: minObservations, Data: dir}, before, func(string) {})
	if err != nil && !strings.Contains(err.Error(), "does not agree with itself") {
		t.Fatal(err)
	}
	for i, f := range c.List() {
		was := before.List()[i]
		switch f.Name {
		case "gateway", "log", "apply", "link", "link_rows", "recall", "one_log":
			if !strings.Contains(f.Source, "engram simulate --calibrate") || f.Value == was.Value {
				t.Errorf("%s was not measured: %v, %s", f.Name, f.Value, f.Source)
			}
		case "follower":
		default:
			if f != was {
				t.Errorf("%s was %v, and is %v", f.Name, was, f)
			}
		}
	}
	if c.Dimension != 16 {
		t.Errorf("the costs are of %d components", c.Dimension)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestTooFewObservations(t *testing.T) {
	if _, err := Run(t.Context(), Config{Dim: 16, Observations: 100}, simulate.Measured(), nil); err == nil {
		t.Error("100 observations make no graph, and were taken")
	}
}

func TestSound(t *testing.T) {
	c := simulate.Measured()
	c.Gateway.Value = -3
	if err := sound(&c); err != nil || c.Gateway.Value != 1 {
		t.Errorf("%v, and %v for the gateway", err, c.Gateway.Value)
	}
	c.Link.Value = -1
	if err := sound(&c); err == nil || !strings.Contains(err.Error(), "calibrate again") {
		t.Errorf("linking that takes less than nothing: %v", err)
	}
}
