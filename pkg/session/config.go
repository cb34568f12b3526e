package session

import (
	"errors"
	"fmt"
	"time"
)

// Config of the sessions of a gateway.
type Config struct {
	IdleTimeout     time.Duration `yaml:"idle_timeout" default:"5m" usage:"a stream without a frame for so long is ended; its session can be resumed"`
	CleanupInterval time.Duration `yaml:"cleanup_interval" default:"60s" usage:"how often idle streams are looked for"`
	MaxSessions     int           `yaml:"max_sessions" default:"10000" usage:"streams of this gateway at once"`
	MaxPerPrincipal int           `yaml:"max_per_principal" default:"0" usage:"streams of one principal at once, where there is authentication; 0 for a quarter of session.max_sessions"`
	Window          int           `yaml:"window" default:"8192" usage:"observations of one stream that may wait for their acknowledgement"`
	WindowBytes     int           `yaml:"window_bytes" default:"8388608" usage:"bytes of one stream that may wait for their acknowledgement"`
	SaveInterval    time.Duration `yaml:"save_interval" default:"30s" usage:"how often the state of a session that takes observations is saved"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		IdleTimeout: 5 * time.Minute, CleanupInterval: time.Minute, MaxSessions: 10_000, Window: 8192, WindowBytes: 8 << 20,
		SaveInterval: 30 * time.Second,
	}
}

// maxIdle keeps a session that idles from outliving its state in the bucket.
const maxIdle = 30 * time.Minute

// Validate tells what of the configuration cannot be.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.IdleTimeout > 0 && c.IdleTimeout <= maxIdle, "session.idle_timeout is %v; it can be up to %v", c.IdleTimeout, maxIdle)
	check(c.CleanupInterval > 0, "session.cleanup_interval is %v; it must be above 0", c.CleanupInterval)
	check(c.MaxSessions >= 1, "session.max_sessions is %d; it must be above 0", c.MaxSessions)
	check(c.MaxPerPrincipal >= 0, "session.max_per_principal is %d; it must be 0 or above", c.MaxPerPrincipal)
	check(c.Window >= 1 && c.Window <= maxWindow, "session.window is %d; it can be 1 to %d", c.Window, maxWindow)
	check(c.WindowBytes >= 1<<20, "session.window_bytes is %d; it must hold an observation of 1 MiB", c.WindowBytes)
	check(c.SaveInterval > 0 && c.SaveInterval <= time.Minute, "session.save_interval is %v; it can be up to 1m", c.SaveInterval)
	return errors.Join(errs...)
}

// perPrincipal is how many streams one principal may have.
func (c *Config) perPrincipal() int {
	if c.MaxPerPrincipal > 0 {
		return c.MaxPerPrincipal
	}
	return max(c.MaxSessions/4, 1)
}

// maxWindow is the largest window.
const maxWindow = 65_536
