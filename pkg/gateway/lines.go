package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// lineBatch is how many lines of NDJSON are sent to the log together, at most.
	lineBatch = 200
	// maxLine bounds one of them: JSON takes more room than the event that it becomes.
	maxLine = 2 * maxEvent
	// maxAhead bounds the bytes of a request's lines that were read and are not answered yet.
	maxAhead = 2 * maxLine
)

// postLines takes NDJSON of any length and answers with one line for each, in order: {"line", "id", "position"} or
// {"line", "error"}, as soon as it is durable or refused, while the request goes on. A line that is refused does not keep the
// others from being taken. A client that does not read its answers is not read any more, and what is held of it is bounded.
func (g *Gateway) postLines(w http.ResponseWriter, r *http.Request) {
	head := new(api.ObserveRequest)
	refused := wire.CheckSpace(r.PathValue("space"))
	if packed := r.Header.Get("Content-Encoding"); refused == nil && packed != "" && packed != "identity" {
		refused = wire.Errorf(wire.CodeUnsupported, "", "the body is packed with %q; NDJSON is taken as it is", packed)
	}
	if refused == nil {
		refused = wire.ObserveHeaders(head, r.Header.Get)
	}
	if refused == nil {
		refused = wire.CheckIdempotencyKey(head.GetIdempotencyKey())
	}
	if refused != nil {
		g.Metrics.Space(g.label(r.PathValue("space"))).Rejected(string(refused.Code)).Inc()
		wire.WriteError(w, wire.JSON, refused)
		return
	}
	w.Header().Set("Content-Type", wire.TypeNDJSON)
	conn := http.NewResponseController(w)
	if err := conn.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeInternal, "", "preparing the answer: %v", err))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	read := readLines(ctx, r.Body, g.bodies)
	l := &lines{g: g, space: r.PathValue("space"), ctx: r.Context(), head: head, w: w, conn: conn, read: read}
	going := l.serve()
	cancel()
	if !going {
		// The reader may wait for a client that is gone, and must not outlive the request.
		_ = conn.SetReadDeadline(time.Now())
	}
	read.release(l.held)
	for line := range read.lines {
		read.release(line.size)
	}
}

// oneLine is a line of the body, or what became of it.
type oneLine struct {
	text []byte
	size int64 // bytes of it, which are counted
	long bool  // over maxLine, and left out
	full bool  // there was no room for it, and it is left out
	err  error // io.EOF with the last one
}

// reading is a body being read while what came of it is on its way to the log.
type reading struct {
	lines  chan oneLine // closed at the end of the body, or of the request
	ahead  *semaphore.Weighted
	budget *budget // of all requests
}

func (r *reading) release(n int64) {
	r.ahead.Release(n)
	r.budget.Give(session.JSONFactor * int(n))
}

// readLines reads a body to its end, whatever is in it: on a connection in both directions the server cannot skip the rest.
// It stays ahead of who takes the lines by a batch, and by maxAhead bytes.
func readLines(ctx context.Context, body io.Reader, budget *budget) *reading {
	r := &reading{lines: make(chan oneLine, lineBatch), ahead: semaphore.NewWeighted(maxAhead), budget: budget}
	go func() {
		defer close(r.lines)
		in := bufio.NewReaderSize(body, 64<<10)
		for err := error(nil); err == nil; {
			var l oneLine
			l, err = r.readLine(in)
			if r.ahead.Acquire(ctx, l.size) != nil {
				r.budget.Give(session.JSONFactor * int(l.size))
				return
			}
			select {
			case r.lines <- l:
			case <-ctx.Done():
				r.release(l.size)
				return
			}
		}
	}()
	return r
}

// readLine returns the next line, whose bytes are counted as they come, times what decoding them takes. One that is longer
// than maxLine, or for which there is no room, is read and left out.
func (r *reading) readLine(in *bufio.Reader) (oneLine, error) {
	var l oneLine
	held := session.Held{Memory: r.budget}
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case l.long || l.full:
		case len(l.text)+len(part) > maxLine:
			l.long = true
		case !held.Grow(session.JSONFactor * len(part)):
			l.full = true
		default:
			l.text = append(l.text, part...)
		}
		if l.long || l.full {
			l.text = nil
			held.Release()
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			l.err, l.size = err, int64(len(l.text))
			return l, err
		}
	}
}

// lines is one NDJSON request on its way; head is what its headers say of every line.
type lines struct {
	g       *Gateway
	space   string
	ctx     context.Context
	head    *api.ObserveRequest
	w       io.Writer
	conn    *http.ResponseController
	read    *reading
	number  int
	batch   api.ObserveRequest
	numbers []int
	bytes   int
	held    int64 // of what the reader counts
}

// serve takes lines until there are no more; false when the client is gone. What there is goes to the log when nothing more
// is there to go with it, so batches grow with the load, and a line that comes alone is not kept waiting.
func (l *lines) serve() bool {
	for {
		var line oneLine
		var more bool
		select {
		case line, more = <-l.read.lines:
		default:
			if !l.flush() || !l.send() {
				return false
			}
			line, more = <-l.read.lines
		}
		if !more {
			return l.flush() && l.send()
		}
		l.number++
		l.held += line.size
		trimmed, going := bytes.TrimSpace(line.text), true
		switch {
		case line.long:
			going = l.flush() && l.refuse(l.number, wire.Errorf(wire.CodeTooLarge, "", "the line has more than %d bytes", maxLine))
		case line.full:
			refused := session.TooMuchRead()
			l.g.Metrics.Space(l.g.label(l.space)).Rejected(string(refused.Code)).Inc()
			going = l.flush() && l.refuse(l.number, refused)
		case line.err != nil && !errors.Is(line.err, io.EOF):
			going = l.flush() && l.refuse(l.number, wire.Errorf(wire.CodeMalformed, "", "the line could not be read: %v", line.err))
		case len(trimmed) > 0:
			going = l.add(trimmed)
		}
		if !going {
			return false
		}
	}
}

// send has the client get what was written so far.
func (l *lines) send() bool {
	err := l.conn.Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported)
}

func (l *lines) refuse(line int, e *wire.Error) bool { return l.answer(line, nil, e) }

func (l *lines) answer(line int, r *api.ObserveResult, e *wire.Error) bool {
	b, failed := wire.EncodeLine(line, r, e)
	if failed != nil {
		return false
	}
	_, err := l.w.Write(b)
	return err == nil
}

// add takes one line; false when the client is gone.
func (l *lines) add(line []byte) bool {
	in, single, refused := wire.DecodeObserve(wire.JSON, line)
	if refused == nil && !single {
		refused = wire.Errorf(wire.CodeMalformed, "", "a line holds one observation")
	}
	if refused == nil && (in.GetAcknowledgement() != 0 || in.GetIdempotencyKey() != "" || in.GetDeadlineMs() != 0) {
		refused = wire.Errorf(wire.CodeMalformed, "", "a line holds one observation; how it is acknowledged stands in the headers of the request")
	}
	if refused == nil {
		refused = mayObserve(l.ctx, in)
	}
	if refused == nil {
		check := &observing{g: l.g, space: l.space, req: in}
		refused = check.check()
	}
	if refused != nil {
		l.g.Metrics.Space(l.g.label(l.space)).Rejected(string(refused.Code)).Inc()
		return l.flush() && l.refuse(l.number, refused)
	}
	l.batch.Observations = append(l.batch.Observations, in.GetObservations()[0])
	l.numbers = append(l.numbers, l.number)
	l.bytes += len(line)
	if len(l.numbers) < min(lineBatch, event.MaxBatch) && l.bytes < 1<<20 {
		return true
	}
	return l.flush()
}

// flush sends the batch to the log and writes its results. Where one observation makes the gateway refuse the whole batch,
// each is sent by itself.
func (l *lines) flush() bool {
	held := l.held
	l.held = 0
	defer func() { l.read.release(held) }()
	if len(l.numbers) == 0 {
		return true
	}
	req, numbers := &api.ObserveRequest{
		Observations: l.batch.GetObservations(), Acknowledgement: l.head.GetAcknowledgement(), DeadlineMs: l.head.GetDeadlineMs(),
		IdempotencyKey: l.head.GetIdempotencyKey(),
	}, l.numbers
	l.batch.Observations, l.numbers, l.bytes = nil, nil, 0
	// The request was charged for as one; each batch of its lines is another.
	var resp *api.ObserveResponse
	refused := auth.Charge(l.ctx, 1)
	if refused == nil {
		resp, refused = l.g.observeLines(l.ctx, l.space, req, numbers)
	}
	if refused != nil && len(numbers) > 1 && (refused.Status() == http.StatusBadRequest || refused.Status() == http.StatusRequestEntityTooLarge) {
		for i, n := range numbers {
			l.batch.Observations, l.numbers = req.GetObservations()[i:i+1], []int{n}
			if !l.flush() {
				return false
			}
		}
		return true
	}
	for i, n := range numbers {
		var result *api.ObserveResult
		if refused == nil {
			result = resp.GetResults()[i]
		}
		if !l.answer(n, result, refused) {
			return false
		}
	}
	return true
}
