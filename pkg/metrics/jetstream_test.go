package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// fakeInfo stands for a server: it notes when it was asked, takes some time to
// answer, and answers with the number of the question.
type fakeInfo struct {
	mu    sync.Mutex
	takes []time.Duration // for each question; 0 after the last
	err   error
	asked []time.Time
}

func (f *fakeInfo) ask(ctx context.Context) (uint64, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	n, takes, err := len(f.asked), time.Duration(0), f.err
	if n <= len(f.takes) {
		takes = f.takes[n-1]
	}
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(takes):
		return uint64(n), err
	}
}

func (f *fakeInfo) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeInfo) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

type fakeStream struct{ fakeInfo }

func (f *fakeStream) Info(ctx context.Context, _ ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	n, err := f.ask(ctx)
	return &jetstream.StreamInfo{State: jetstream.StreamState{LastSeq: 100 + n, FirstSeq: n, Msgs: 101, Bytes: 7}}, err
}

type fakeConsumer struct{ fakeInfo }

func (f *fakeConsumer) Info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	n, err := f.ask(ctx)
	return &jetstream.ConsumerInfo{
		NumPending: 10 + n, NumAckPending: 20, NumRedelivered: 30,
		Delivered: jetstream.SequenceInfo{Consumer: 1, Stream: 40}, AckFloor: jetstream.SequenceInfo{Consumer: 2, Stream: 50},
	}, err
}

// startCollector runs a collector inside a synctest bubble, where time.Second is
// no time at all; stop ends it and waits for it.
func startCollector(t *testing.T, add func(*JetStreamCollector)) (c *JetStreamCollector, reg *prometheus.Registry, stop func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	c, err := NewJetStreamCollector(reg, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	add(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	synctest.Wait()
	return c, reg, func() {
		t.Helper()
		stopped := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(stopped); took != 0 {
			t.Errorf("Run returned %v after it was stopped", took)
		}
	}
}

// elapse moves the clock of the bubble on, and lets everything settle.
func elapse(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// expect compares all engram_jetstream_ series, one "name consumer,stream value" each.
func expect(t *testing.T, reg prometheus.Gatherer, want ...string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			got = append(got, fmt.Sprintf("%s %s %v", strings.TrimPrefix(f.GetName(), "engram_jetstream_"), strings.Join(labels, ","), value))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("wrong values (-want +got):\n%s", d)
	}
}

func TestCollectorExposesTheLastValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, consumer := &fakeStream{}, &fakeConsumer{}
		c, reg, stop := startCollector(t, func(c *JetStreamCollector) {
			c.AddStream("LOG_0", stream)
			c.AddConsumer("LOG_0", "w1", consumer)
		})
		defer stop()
		for range 100 { // scrapes ask nobody
			expect(t, reg,
				"consumer_ack_floor_sequence w1,LOG_0 50",
				"consumer_ack_pending w1,LOG_0 20",
				"consumer_last_sequence w1,LOG_0 40",
				"consumer_pending w1,LOG_0 11",
				"consumer_redelivered w1,LOG_0 30",
				"poll_failures_total  0",
				"stream_bytes LOG_0 7",
				"stream_first_sequence LOG_0 1",
				"stream_last_sequence LOG_0 101",
				"stream_messages LOG_0 101",
			)
		}
		elapse(2500 * time.Millisecond)
		if n, m := len(stream.times()), len(consumer.times()); n != 3 || m != 3 {
			t.Errorf("in 2.5 s the stream was asked %d times and the consumer %d times, want 3", n, m)
		}
		c.RemoveConsumer("LOG_0", "w1")
		expect(t, reg, "poll_failures_total  0", "stream_bytes LOG_0 7",
			"stream_first_sequence LOG_0 3", "stream_last_sequence LOG_0 103", "stream_messages LOG_0 101")
		c.RemoveStream("LOG_0")
		elapse(5 * time.Second)
		expect(t, reg, "poll_failures_total  0")
		if n, m := len(stream.times()), len(consumer.times()); n != 3 || m != 3 {
			t.Errorf("what was removed was asked again: %d and %d times, want 3", n, m)
		}
	})
}

// A slow round must not be followed at once by the one that it delayed.
func TestCollectorAsksAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 800 * time.Millisecond
		a, b := &fakeStream{}, &fakeStream{}
		a.takes, b.takes = []time.Duration{slow, 0, slow}, []time.Duration{slow, 0, slow}
		_, _, stop := startCollector(t, func(c *JetStreamCollector) {
			c.AddStream("A", a)
			c.AddStream("B", b)
		})
		elapse(10 * time.Second)
		stop()
		for name, times := range map[string][]time.Time{"A": a.times(), "B": b.times()} {
			if len(times) < 5 {
				t.Errorf("%s was asked only %d times in 10 s", name, len(times))
			}
			for i := 1; i < len(times); i++ {
				if pause := times[i].Sub(times[i-1]); pause < time.Second {
					t.Errorf("%s was asked again after %v", name, pause)
				}
			}
		}
	})
}

func TestCollectorKeepsValuesOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := &fakeStream{}
		_, reg, stop := startCollector(t, func(c *JetStreamCollector) { c.AddStream("A", stream) })
		defer stop()
		stream.fail(errors.New("no responders"))
		elapse(2500 * time.Millisecond)
		expect(t, reg, "poll_failures_total  2", "stream_bytes A 7",
			"stream_first_sequence A 1", "stream_last_sequence A 101", "stream_messages A 101")
		stream.fail(nil)
		elapse(time.Second)
		expect(t, reg, "poll_failures_total  2", "stream_bytes A 7",
			"stream_first_sequence A 4", "stream_last_sequence A 104", "stream_messages A 101")
	})
}

func TestCollectorGivesUpOnASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, consumer := &fakeStream{}, &fakeConsumer{}
		silent.takes = []time.Duration{time.Hour, time.Hour, time.Hour}
		_, reg, stop := startCollector(t, func(c *JetStreamCollector) {
			c.AddStream("A", silent)
			c.AddConsumer("B", "w1", consumer)
		})
		elapse(1500 * time.Millisecond)
		if len(consumer.times()) != 1 {
			t.Errorf("the consumer was asked %d times, want once after the stream's second", len(consumer.times()))
		}
		elapse(time.Second) // in the second question to the stream
		stop()
		for _, line := range series(t, reg) {
			if strings.Contains(line, "stream=A") {
				t.Errorf("%s has a value, and was never read", line)
			}
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == namePollFailures && f.Metric[0].Counter.GetValue() != 1 {
				t.Errorf("%v failures, want 1: the time-out, and not the stop", f.Metric[0].Counter.GetValue())
			}
		}
	})
}

// What is removed while its question is on the way must not come back.
func TestRemoveDuringAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, consumer := &fakeStream{}, &fakeConsumer{}
		stream.takes = []time.Duration{500 * time.Millisecond}
		consumer.takes = stream.takes
		c, reg, stop := startCollector(t, func(c *JetStreamCollector) {
			c.AddStream("A", stream)
			c.AddConsumer("A", "w1", consumer)
		})
		defer stop()
		c.RemoveStream("A")
		elapse(700 * time.Millisecond) // the consumer's turn
		c.RemoveConsumer("A", "w1")
		elapse(time.Second)
		expect(t, reg, "poll_failures_total  0")
		if len(stream.times()) != 1 || len(consumer.times()) != 1 {
			t.Errorf("asked %d and %d times, want once each", len(stream.times()), len(consumer.times()))
		}
	})
}

func TestCollectorRefusesToPollFaster(t *testing.T) {
	_, err := NewJetStreamCollector(prometheus.NewRegistry(), 999*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "is 999ms; it must be at least 1s") {
		t.Errorf("the error is %v", err)
	}
}
