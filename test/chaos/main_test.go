//go:build chaos

package chaos

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
)

// How the tests are run. TestMain reads the command line, and everything is only read after that.
var (
	seed    = flag.Uint64("seed", 0, "seed of the clients' doings and of the moments of faults; 0 takes one from the clock")
	long    = flag.Bool("long", false, "let each fault last for minutes, not seconds")
	write   = flag.Bool("write", false, "write what comes out into docs/RELIABILITY.md")
	command = flag.String("command", "", "command that the table names, in which %s stands for the test")
	root    = flag.String("root", "../..", "top of the repository whose docker-compose.yml is started")
	keep    = flag.Bool("keep", false, "leave the containers running after the tests")
	reuse   = flag.String("reuse", "", "directory of a deployment that -keep left: it is used again, and left again")

	rig *deployment
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run starts one deployment for all tests: each leaves it well, and knows only its own spaces.
func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if rig, err = deploy(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if *keep || *reuse != "" {
		fmt.Fprintf(os.Stderr, "the containers of the project %s go on; their directory is %s\n", project, rig.dir)
		return code
	}
	if err := rig.end(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
