package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/streams"
)

// rawBatch is the atomic batch of the raw measurement.
const rawBatch = 500

// raw publishes the bytes that the log got, to as many streams with the same settings, in atomic batches of 500, and
// pulls them at the same time with AckAll. It returns observations a second until the last one was consumed.
func raw(ctx context.Context, cfg *Config, src *source) (float64, error) {
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-raw-")
	if err != nil {
		return 0, err
	}
	rate, err := rawIn(ctx, cfg, src, dir)
	return rate, errors.Join(err, remove())
}

func rawIn(ctx context.Context, cfg *Config, src *source, dir string) (rate float64, err error) {
	srv, err := server.NewServer(&server.Options{ServerName: "raw", JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, DontListen: true})
	if err != nil {
		return 0, fmt.Errorf("starting a server for raw JetStream: %w", err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(30 * time.Second) {
		return 0, errors.New("the server for raw JetStream was not ready within 30 s")
	}
	shares := map[int][]int{} // the observations of each shard that the run used
	for i := range cfg.Observations {
		shard := event.ShardOf(spaceName(src.space(i)), cfg.Shards)
		shares[shard] = append(shares[shard], i)
	}
	work := make([]*rawStream, 0, len(shares))
	defer func() {
		for _, w := range work {
			w.close()
		}
	}()
	for shard, rows := range shares {
		w, err := openRaw(ctx, srv, shard, rows)
		if err != nil {
			return 0, err
		}
		work = append(work, w)
		if err := w.encode(src); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	errs := make(chan error, 2*len(work))
	var all sync.WaitGroup
	for _, w := range work {
		all.Go(func() { errs <- w.publish(ctx) })
		all.Go(func() { errs <- w.consume(ctx) })
	}
	all.Wait()
	took := time.Since(start)
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return float64(cfg.Observations) / took.Seconds(), err
}

// rawStream is one stream with a publisher and a consumer, each with a connection of its own.
type rawStream struct {
	shard    int
	rows     []int
	messages [][]byte
	subject  []string
	pub, sub *bus.Conn
	consumer jetstream.Consumer
}

func openRaw(ctx context.Context, srv *server.Server, shard int, rows []int) (*rawStream, error) {
	w := &rawStream{shard: shard, rows: rows}
	var err error
	if w.pub, err = bus.Connect(bus.Config{InProcess: srv}); err != nil {
		return nil, err
	}
	if w.sub, err = bus.Connect(bus.Config{InProcess: srv}); err != nil {
		return nil, errors.Join(err, w.close())
	}
	definition, err := streams.Log(shard)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	if _, err := w.pub.JS.CreateStream(ctx, definition); err != nil {
		return nil, errors.Join(fmt.Errorf("making a stream for raw JetStream: %w", err), w.close())
	}
	w.consumer, err = w.sub.JS.CreateConsumer(ctx, bus.LogStream(shard), jetstream.ConsumerConfig{
		Durable: "raw", AckPolicy: jetstream.AckAllPolicy, MaxAckPending: -1,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a consumer for raw JetStream: %w", err), w.close())
	}
	return w, nil
}

// encode makes the messages before the clock starts.
func (w *rawStream) encode(src *source) error {
	for _, i := range w.rows {
		o, err := src.observation(i)
		if err != nil {
			return err
		}
		o.Space = spaceName(src.space(i))
		o.ObservedAt = time.Now().UnixNano()
		b, err := proto.Marshal(&api.LogEvent{Event: &api.LogEvent_Observe{Observe: o}})
		if err != nil {
			return err
		}
		w.messages = append(w.messages, b)
		w.subject = append(w.subject, bus.LogSubject(w.shard, o.GetSpace()))
	}
	return nil
}

func (w *rawStream) publish(ctx context.Context) error {
	for first := 0; first < len(w.messages); first += rawBatch {
		last := min(first+rawBatch, len(w.messages))
		msgs := make([]*nats.Msg, 0, rawBatch)
		for i := first; i < last; i++ {
			msgs = append(msgs, &nats.Msg{Subject: w.subject[i], Data: w.messages[i], Header: nats.Header{}})
		}
		if _, err := jetstreamext.PublishMsgBatch(ctx, w.pub.JS, msgs, jetstreamext.BatchFlowControl{AckFirst: false}); err != nil {
			return fmt.Errorf("publishing to raw JetStream: %w", err)
		}
	}
	return nil
}

func (w *rawStream) consume(ctx context.Context) error {
	consumed := 0
	done := make(chan error, 1)
	cc, err := w.consumer.Consume(func(m jetstream.Msg) {
		consumed++
		if consumed%rawBatch == 0 || consumed == len(w.messages) {
			if err := m.Ack(); err != nil {
				select {
				case done <- err:
				default:
				}
			}
		}
		if consumed == len(w.messages) {
			done <- nil
		}
	}, jetstream.PullMaxMessages(2*rawBatch))
	if err != nil {
		return fmt.Errorf("consuming from raw JetStream: %w", err)
	}
	defer cc.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *rawStream) close() error {
	for _, c := range []*bus.Conn{w.pub, w.sub} {
		if c != nil {
			c.Close()
		}
	}
	return nil
}
