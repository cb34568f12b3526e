package worker

import (
	"testing"
	"time"
)

// What a worker takes for the server's time, when its own clock is right, behind and ahead.
func TestClockOfTheServer(t *testing.T) {
	const transit = 20 * time.Millisecond
	start := time.Unix(1_800_000_000, 0)
	for name, offset := range map[string]time.Duration{"right": 0, "behind": -time.Minute, "ahead": time.Minute} {
		c := &clock{wrong: offset}
		// The test's time is the server's.
		off := func(now time.Time) time.Duration { return c.server(now).Sub(now).Abs() }
		if c.due(start); !c.due(start) {
			t.Errorf("%s: the server's time is not asked for at first", name)
		}
		c.told(start.Add(transit), start, start.Add(2*transit))
		if got := off(start); got > transit || offset == 0 && got != 0 {
			t.Errorf("%s: off by %v after an answer that took %v", name, got, 2*transit)
		}
		if c.due(start.Add(askEvery/2)) || !c.due(start.Add(askEvery+time.Second)) {
			t.Errorf("%s: the server is asked too often, or never again", name)
		}
		// Entries narrow it down, old ones say nothing.
		now := start.Add(time.Second)
		c.received(now.Add(-time.Millisecond), now)
		c.received(now.Add(-time.Hour), now)
		if got := off(now); got > transit || offset == 0 && got != 0 {
			t.Errorf("%s: off by %v after an entry that took a millisecond", name, got)
		}
		// Whoever sets the clock of this machine right is noticed with the next answer.
		c.wrong = 0
		c.told(start.Add(time.Minute+transit), start.Add(time.Minute), start.Add(time.Minute+2*transit))
		if got := off(now); got != 0 {
			t.Errorf("%s, and set right: off by %v", name, got)
		}
	}
	// Before any answer, entries alone tell that a clock is behind.
	c := &clock{wrong: -time.Minute}
	c.received(start, start.Add(time.Millisecond))
	if got := c.server(start).Sub(start).Abs(); got > time.Millisecond {
		t.Errorf("behind, and never told: off by %v", got)
	}
}
