package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A short overload loses nothing of what it accepted, and the shards take all again after it. Rates and times are for a machine
// of one's own.
func TestOverload(t *testing.T) {
	rep, err := Overload(t.Context(), OverloadConfig{
		Dim: 16, Spaces: 2, Shards: 2, Calibrate: time.Second, Duration: 2 * time.Second, Factor: 3, HighRate: 20, Batch: 100, Seed: 1, Loose: true,
	}, zerolog.Nop(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Held.Lost || !rep.Held.Recovery || rep.Checked == 0 || rep.Accepted == 0 || rep.HighSent == 0 || rep.StalenessBound <= 0 {
		t.Errorf("%+v", rep)
	}
}

// While one space floods, nothing of the quiet one is refused.
func TestFairness(t *testing.T) {
	rep, err := Fairness(t.Context(), FairnessConfig{Dim: 16, Duration: time.Second, Rate: 20, Batch: 200, Window: 100, Seed: 1}, zerolog.Nop(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]QuietReport{"alone": rep.Alone, "beside a flood": rep.Flooded, "beside a high flood": rep.HighFlood} {
		if q.Sent == 0 || q.Refused+q.Failed > 0 || q.Searchable.P99 <= 0 || q.Accepted.P99 <= 0 {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if rep.Alone.FloodRefused != 0 || rep.Flooded.FloodRefused == 0 {
		t.Errorf("%+v", rep)
	}
}

func TestOverloadConfig(t *testing.T) {
	for _, tc := range []struct {
		change func(*OverloadConfig)
		want   string
	}{
		{func(c *OverloadConfig) { c.Dim = 0 }, "--dim"}, {func(c *OverloadConfig) { c.Spaces = 0 }, "--spaces"},
		{func(c *OverloadConfig) { c.Shards = 1000 }, "--shards"}, {func(c *OverloadConfig) { c.Duration = 0 }, "--duration"},
		{func(c *OverloadConfig) { c.Factor = 1 }, "--factor"}, {func(c *OverloadConfig) { c.HighRate = 0 }, "--high-rate"},
		{func(c *OverloadConfig) { c.Batch = 1000 }, "--batch"},
	} {
		c := OverloadConfig{Dim: 8, Spaces: 1, Shards: 1, Calibrate: time.Second, Duration: time.Second, Factor: 3, HighRate: 1, Batch: 1}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want one about %s", err, tc.want)
		}
	}
}
