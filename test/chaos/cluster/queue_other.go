//go:build !linux

package cluster

import (
	"errors"
	"time"
)

const queueNumber = 77

func delayQueue(int, time.Duration, float64) (func() error, error) {
	return nil, errors.New("packets can be delayed on Linux alone")
}
