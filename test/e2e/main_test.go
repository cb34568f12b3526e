//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is the directory of the daemons under test, seed what TestKilled takes its random moments and vectors from.
// TestMain sets the one, the command line the other; both are only read after that.
var (
	programs string
	seed     = flag.Uint64("seed", 0, "seed of the kill test; 0 takes one from the clock")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := withPrograms(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withPrograms builds the daemons, as a user would, runs the tests and removes them.
func withPrograms(run func() int) (int, error) {
	var err error
	if programs, err = os.MkdirTemp("", "engram-e2e-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	cmd := exec.Command("go", "build", "-o", programs+string(filepath.Separator),
		"./cmd/ingest-gateway", "./cmd/space-worker", "./cmd/recall-api")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return run(), nil
}
