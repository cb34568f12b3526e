//go:build linux

// Command init is the only program of the system that run.sh boots: it runs the tests and turns the machine off.
package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func main() {
	// Without the halves: the emulator rounds some ties away from even. Their kernel is of F16C, which is no part of AVX-512.
	tests := exec.Command("/vector.test", "-test.v", "-test.run", "/^avx512", "-test.skip", "^TestRowsOfHalves$")
	tests.Stdin, tests.Stdout, tests.Stderr = os.Stdin, os.Stdout, os.Stderr // there is no /dev/null
	// The garbage collector of Go has code of its own for AVX-512, by which it loses objects in this emulator. It needs
	// DQ, which the kernels do not.
	tests.Env = []string{"GODEBUG=cpu.avx512dq=off"}
	if err := tests.Run(); err != nil {
		fmt.Printf("tests: %v\n", err)
	} else {
		fmt.Println("tests: all passed")
	}
	if err := unix.IoctlSetInt(1, unix.TCSBRK, 1); err != nil { // which waits until the serial port has sent everything
		fmt.Printf("draining the console: %v\n", err)
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Printf("powering off: %v\n", err)
	}
}
