package bench

import (
	"os"
	"strconv"
	"strings"
)

// resetPeakRSS has the kernel count VmHWM from now on, and tells whether it does.
func resetPeakRSS() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// residentNow returns the resident memory of the process in bytes where the kernel tells it, else 0.
func residentNow() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// openFiles returns how many descriptors the process has open where the kernel tells it, else 0.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return max(len(entries)-1, 0) // one is that of the directory
}
