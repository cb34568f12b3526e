package recall

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// message is one of a stream.
type message struct {
	sequence  uint64
	published time.Time
}

// erase looks through the messages of a subject, has the server overwrite those that are meant, and looks once more.
func (p *proof) erase(ctx context.Context, place, stream, subject string) {
	found, looked, err := p.scan(ctx, place, stream, subject)
	if err == nil && !p.keep && len(found) > 0 {
		if err = p.overwrite(ctx, stream, found); err == nil {
			p.resp.Erased += uint64(len(found))
			_, looked, err = p.scan(ctx, place, stream, subject)
		}
	}
	if err != nil {
		looked.Error = wire.Errorf(wire.CodeUnavailable, "", "%v", err).Proto()
	}
	p.resp.Looked = append(p.resp.Looked, looked)
}

// scan finds the messages of a subject that are meant.
func (p *proof) scan(ctx context.Context, place, stream, subject string) (found []message, looked *api.Looked, err error) {
	looked = &api.Looked{Place: place, Holder: stream}
	last := p.last
	if place == "quarantine" {
		s, err := p.js.Stream(ctx, stream)
		if err != nil {
			return nil, looked, err
		}
		last = s.CachedInfo().State.LastSeq
	}
	forgets := 0
	err = p.read(ctx, stream, subject, 0, last, func(m message, data []byte) {
		looked.Items++
		looked.Bytes += uint64(len(data))
		sequence := m.sequence
		if place == "quarantine" {
			var ok bool
			if sequence, data, ok = p.quarantined(data); !ok {
				return
			}
		}
		is, named := p.meant(sequence, data)
		if named {
			forgets++
		}
		if is {
			found = append(found, m)
			looked.Found++
		}
	})
	if forgets > 0 {
		looked.Note = "forgets that name the ids stay, so that a replay forgets the same"
	}
	return found, looked, err
}

// read hands over the messages of a subject from one sequence to another, in their order. What is published meanwhile is not
// waited for.
func (p *proof) read(ctx context.Context, stream, subject string, first, last uint64, each func(m message, data []byte)) error {
	if last == 0 {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}}
	if first > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, first
	}
	consumer, err := p.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return err
	}
	info, err := consumer.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	// A consumer that is lost is made again, for as long as nobody stops it.
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream <= last {
			each(message{meta.Sequence.Stream, meta.Timestamp}, m.Data())
		}
		if meta.Sequence.Stream >= last || meta.NumPending == 0 {
			return nil
		}
	}
}

// overwriting is how many messages are erased at the same time.
const overwriting = 8

// overwrite erases messages once the log need not know their write ids any more.
func (p *proof) overwrite(ctx context.Context, name string, found []message) error {
	stream, err := p.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	youngest := slices.MaxFunc(found, func(a, b message) int { return a.published.Compare(b.published) })
	t := time.NewTimer(time.Until(youngest.published.Add(p.window)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return errors.New("the deadline passed while the youngest message is younger than the duplicate window of the log, within which a retry of it must be known; ask again later")
	}
	next := make(chan message)
	var done sync.WaitGroup
	var mu sync.Mutex
	var failed error
	at := overwriting
	if p.filter != nil {
		at = 1 // the oldest first: a version that the filter does not mean must not outlive the one that replaced it
	}
	for range at {
		done.Go(func() {
			for m := range next {
				mu.Lock()
				stop := failed != nil && p.filter != nil
				mu.Unlock()
				if stop {
					continue
				}
				err := stream.SecureDeleteMsg(ctx, m.sequence)
				if errors.Is(err, jetstream.ErrMsgNotFound) {
					err = nil
				}
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, m := range found {
		next <- m
	}
	close(next)
	done.Wait()
	return failed
}
