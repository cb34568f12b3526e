package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pace waits for events at a steady rate. They come from the kernel, by a timer that the runtime polls as it polls its
// connections: so a query begins as one does that came in over the network, and not when a timer of the runtime's own is
// noticed, which is late by a millisecond as a rule and by ten where its processor is in a system call.
type pace struct {
	f     *os.File
	start time.Time
	every time.Duration
	owing uint64
	given int
}

func newPace(every time.Duration) (*pace, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	p := &pace{f: os.NewFile(uintptr(fd), "timer"), start: time.Now(), every: every}
	at := unix.NsecToTimespec(every.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: at, Value: at}, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("setting a timer: %w", err), p.f.Close())
	}
	return p, nil
}

// wait returns when the next event is due, which may be past; ok is false when ctx has ended.
func (p *pace) wait(ctx context.Context) (due time.Time, ok bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = p.f.SetReadDeadline(time.Unix(1, 0)) }) // a read that goes on for one event is no harm
	defer stop()
	for p.owing == 0 {
		var expired [8]byte
		_, err := p.f.Read(expired[:])
		if ctx.Err() != nil {
			return due, false, nil
		}
		if err != nil {
			return due, false, fmt.Errorf("waiting for a timer: %w", err)
		}
		p.owing = binary.NativeEndian.Uint64(expired[:])
	}
	p.owing--
	p.given++
	return p.start.Add(time.Duration(p.given) * p.every), true, nil
}

func (p *pace) close() error { return p.f.Close() }
