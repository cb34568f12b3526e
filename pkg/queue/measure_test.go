package queue

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	m, err := Measure(t.Context(), MinMeasure, 100)
	if err != nil {
		t.Fatal(err)
	}
	if m.Items < 3*measureRounds*measureBatch || m.Capacity != 100 || m.ItemBytes != 16 || m.Rounds != measureRounds {
		t.Errorf("implausible: %+v", m)
	}
	for name, f := range map[string]struct {
		rate   float64
		spread Spread
	}{
		"batch":   {m.OperationsPerSecond, m.OperationsSpread},
		"single":  {m.SingleOperationsPerSecond, m.SingleOperationsSpread},
		"channel": {m.ChannelOperationsPerSecond, m.ChannelOperationsSpread},
	} {
		if f.rate <= 0 || math.IsInf(f.rate, 0) || f.spread.Min > f.rate || f.spread.Max < f.rate {
			t.Errorf("%s: rate %v within %+v", name, f.rate, f.spread)
		}
	}
	j, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"operations_per_second":`, `"single_operations_per_second":`, `"channel_operations_per_second":`} {
		if !strings.Contains(string(j), field) {
			t.Errorf("%s is not in %s", field, j)
		}
	}
}

func TestMeasureRefuses(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, run := range map[string]func() (Measurement, error){
		"queue.capacity": func() (Measurement, error) { return Measure(t.Context(), MinMeasure, 0) },
		"at least":       func() (Measurement, error) { return Measure(t.Context(), time.Millisecond, 100) },
		"canceled":       func() (Measurement, error) { return Measure(cancelled, MinMeasure, 100) },
	} {
		if m, err := run(); err == nil || !strings.Contains(err.Error(), name) || m != (Measurement{}) {
			t.Errorf("want no figure and an error about %q, got %v", name, err)
		}
	}
}

func TestSummaryIsMedianAndExtremes(t *testing.T) {
	median, s := summary([]float64{9, 1, 100, 5, 2})
	if median != 5 || s != (Spread{1, 100}) {
		t.Errorf("summary = %v, %+v", median, s)
	}
}

// A pipe that loses, repeats, swaps or forges an item must not give a figure.
func TestTransferNoticesBrokenPipes(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		spoil func(items []item) []item
		send  error
		want  string
	}{
		"faithful": {func(v []item) []item { return v }, nil, ""},
		"lost":     {func(v []item) []item { return v[:len(v)-1] }, nil, "were sent"},
		"skipped":  {func(v []item) []item { return append(v[:5], v[6:]...) }, nil, "was due"},
		"twice":    {func(v []item) []item { return append(v, v[len(v)-1]) }, nil, "was due"},
		"swapped":  {func(v []item) []item { v[3], v[4] = v[4], v[3]; return v }, nil, "was due"},
		"forged":   {func(v []item) []item { v[3].body = v[4].body; return v }, nil, "add up"},
		"failing":  {func(v []item) []item { return v }, broken, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			ch := make(chan []item, 1)
			p := pipe{
				send: func(s *source) error {
					var items []item
					for range measureBatch {
						_, it := s.item()
						items = append(items, it)
					}
					ch <- c.spoil(items)
					return c.send
				},
				end: func() { close(ch) },
				receive: func(g *ledger) error {
					for items := range ch {
						for _, it := range items {
							g.enter(it)
						}
					}
					return nil
				},
			}
			left := 1
			items, took, err := p.transfer(func() bool { left--; return left >= 0 })
			if c.want == "" {
				if err != nil || items != measureBatch || took <= 0 {
					t.Errorf("faithful pipe: %d items, %v, %v", items, took, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
