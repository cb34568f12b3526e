package importer

import (
	"context"
	"errors"
	"time"

	"github.com/engram-memory/engram/pkg/wire"
)

// retryWait is the pause before a request is sent again when the answer names none.
const retryWait = 100 * time.Millisecond

// patience ends its context when nothing but trouble was heard for its limit.
type patience struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
	last   *wire.Error // the last that says more than that there was no answer
}

var errPatience = errors.New("patience is spent")

func newPatience(parent context.Context, limit time.Duration) *patience {
	ctx, cancel := context.WithCancelCause(parent)
	return &patience{
		ctx: ctx, cancel: cancel, limit: limit,
		timer: time.AfterFunc(limit, func() { cancel(errPatience) }),
	}
}

func (p *patience) stop() {
	p.timer.Stop()
	p.cancel(nil)
}

// heard notes a refusal. Backpressure is a sign of life.
func (p *patience) heard(e *wire.Error) {
	if e.Code == wire.CodeBackpressure {
		p.timer.Reset(p.limit)
	}
	if e.Code != wire.CodeDeadline || p.last == nil {
		p.last = e
	}
}

// wait pauses; it is false when the context has ended.
func (p *patience) wait(d time.Duration) bool {
	if d <= 0 {
		d = retryWait
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// reason is what a caller is told about a call that ended with err.
func (p *patience) reason(err error) error {
	switch {
	case !errors.Is(context.Cause(p.ctx), errPatience):
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		return err
	case p.last != nil:
		return p.last
	}
	return wire.Errorf(wire.CodeDeadline, "", "there was no answer within %v", p.limit)
}

// patiently repeats a question until it is answered by more than that something is out of order.
func patiently[T any](ctx context.Context, limit time.Duration, ask func(context.Context) (T, error)) (T, error) {
	p := newPatience(ctx, limit)
	defer p.stop()
	for {
		answer, err := ask(p.ctx)
		if err == nil {
			return answer, nil
		}
		var e *wire.Error
		if !errors.As(err, &e) || !transient(e.Code) || p.ctx.Err() != nil {
			return answer, p.reason(err)
		}
		p.heard(e)
		if !p.wait(e.RetryAfter) {
			return answer, p.reason(err)
		}
	}
}
