package vecstore_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// Disks in memory leave more garbage than a machine may have room for, which the collector is not in a hurry about.
func TestMain(m *testing.M) {
	debug.SetMemoryLimit(2 << 30)
	os.Exit(m.Run())
}
