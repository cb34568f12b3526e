package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// maxBody bounds the body of a request that is decoded whole.
const maxBody = 16 << 20

// Handler returns the gateway's HTTP face: POST /v1/spaces/{space}/observations with one JSON observation, an array,
// an envelope, an ObserveRequest in protobuf, or NDJSON, one observation a line; and PUT /v1/spaces/{space}.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/spaces/{space}/observations", wire.OnlyQuery(g.postObservations))
	mux.HandleFunc("PUT /v1/spaces/{space}", wire.OnlyQuery(g.putSpace))
	return mux
}

func (g *Gateway) postObservations(w http.ResponseWriter, r *http.Request) {
	contentType := r.Header.Get("Content-Type")
	if refused := auth.Require(r.Context(), auth.Observe, r.PathValue("space")); refused != nil {
		f, _ := bodyFormat(contentType, nil)
		wire.WriteError(w, f, refused)
		return
	}
	if media, _, err := mime.ParseMediaType(contentType); err == nil && media == wire.TypeNDJSON {
		g.postLines(w, r)
		return
	}
	counted := &countedReader{r: r.Body, budget: g.bodies, conn: http.NewResponseController(w)}
	defer counted.release()
	body, unread := counted.body(w, r)
	f, refused := bodyFormat(contentType, body)
	if unread != nil {
		refused = unread
	}
	if refused != nil {
		if refused.Code == wire.CodeBackpressure {
			g.Metrics.Space(g.label(r.PathValue("space"))).Rejected(string(refused.Code)).Inc()
		}
		wire.WriteError(w, f, refused)
		return
	}
	in, single, refused := wire.DecodeObserve(f, body)
	if refused == nil {
		refused = wire.ObserveHeaders(in, r.Header.Get)
	}
	if refused == nil {
		refused = mayObserve(r.Context(), in)
	}
	if refused != nil {
		g.Metrics.Space(g.label(r.PathValue("space"))).Rejected(string(refused.Code)).Inc()
		wire.WriteError(w, f, refused)
		return
	}
	resp, refused := g.ObserveWait(r.Context(), r.PathValue("space"), in)
	if refused == nil && single {
		refused = wire.FromProto(resp.GetResults()[0].GetError())
	}
	if refused != nil {
		wire.WriteError(w, f, refused)
		return
	}
	out, refused := wire.EncodeObserve(f, resp, single)
	if refused != nil {
		wire.WriteError(w, f, refused)
		return
	}
	w.Header().Set("Content-Type", f.ContentType())
	w.WriteHeader(worstStatus(resp))
	_, _ = w.Write(out) // a client that is gone has its retry
}

// mayObserve asks whether who asks may observe in the spaces that a body names, too.
func mayObserve(ctx context.Context, in *api.ObserveRequest) *wire.Error {
	for i, o := range in.GetObservations() {
		if err := auth.Require(ctx, auth.Observe, o.GetSpace()); err != nil {
			return err.At("observations[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

// bodyFormat is wire.FormatOf for HTTP, where no content type, and the one that curl -d sends, mean JSON.
func bodyFormat(contentType string, body []byte) (wire.Format, *wire.Error) {
	if contentType == "" || contentType == "application/x-www-form-urlencoded" {
		return wire.JSON, nil
	}
	return wire.FormatOf(contentType, body)
}

// worstStatus is 200 when every observation was accepted, else the status of the first that was not.
func worstStatus(resp *api.ObserveResponse) int {
	for _, r := range resp.GetResults() {
		if r.GetError() != nil {
			return wire.FromProto(r.GetError()).Status()
		}
	}
	return http.StatusOK
}

// countedReader counts what is read against a budget until it is released, so that clients that send slowly, however many
// there are, do not fill the memory.
type countedReader struct {
	r      io.ReadCloser
	conn   *http.ResponseController
	budget *budget
	n      int
	full   bool // there was no room for more
}

var errBodies = errors.New("too much is being read")

// bodySilence is how long a client may send nothing of a body that it has begun.
const bodySilence = 30 * time.Second

func (c *countedReader) Read(p []byte) (int, error) {
	// Where the connection cannot be told, its end is waited for.
	_ = c.conn.SetReadDeadline(time.Now().Add(bodySilence))
	n, err := c.r.Read(p)
	_ = c.conn.SetReadDeadline(time.Time{})
	if n > 0 && !c.budget.take(n) {
		c.full = true
		return 0, errBodies
	}
	c.n += n
	return n, err
}

// Close closes the body.
func (c *countedReader) Close() error { return c.r.Close() }

// body reads the body of a request, and counts what it has once it is unpacked.
func (c *countedReader) body(w http.ResponseWriter, r *http.Request) ([]byte, *wire.Error) {
	r.Body = c
	body, err := wire.ReadBody(w, r, maxBody)
	if more := len(body) - c.n; err == nil && more > 0 {
		if c.full = !c.budget.take(more); !c.full {
			c.n += more
		}
	}
	if c.full {
		return nil, tooManyBodies()
	}
	return body, err
}

func (c *countedReader) release() { c.budget.give(c.n) }

// tooManyBodies is what a client is told whose request does not fit the budget.
func tooManyBodies() *wire.Error {
	e := wire.Errorf(wire.CodeBackpressure, "", "the requests that this gateway is reading fill the memory that they may have; send the request again later")
	e.RetryAfter = time.Second
	return e
}

const (
	// lineBatch is how many lines of NDJSON are sent to the log together.
	lineBatch = 200
	// maxLine bounds one of them: JSON takes more room than the event that it becomes.
	maxLine = 2 * maxEvent
)

// postLines takes NDJSON of any length and answers with one line for each, in order: {"line", "id", "position"} or
// {"line", "error"}. A line that is refused does not keep the others from being taken.
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
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeInternal, "", "preparing the answer: %v", err))
		return
	}
	l := &lines{g: g, space: r.PathValue("space"), r: r, head: head, out: json.NewEncoder(w)}
	in := bufio.NewReaderSize(r.Body, 64<<10)
	var line []byte
	// To the end of the body, whatever is in it: on a connection in both directions the server cannot skip the rest.
	for rerr := error(nil); rerr == nil; {
		var long bool
		line, long, rerr = readLine(in, line[:0])
		l.number++
		trimmed, going := bytes.TrimSpace(line), true
		switch {
		case long:
			going = l.flush() && l.refuse(l.number, wire.Errorf(wire.CodeTooLarge, "", "the line has more than %d bytes", maxLine))
		case rerr != nil && !errors.Is(rerr, io.EOF):
			going = l.flush() && l.refuse(l.number, wire.Errorf(wire.CodeMalformed, "", "the line could not be read: %v", rerr))
		case len(trimmed) > 0:
			going = l.add(trimmed)
		}
		if !going {
			return
		}
	}
	l.flush()
}

// readLine appends the next line to dst. One that is longer than maxLine is read and left out.
func readLine(in *bufio.Reader, dst []byte) (line []byte, long bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(dst)+len(part) > maxLine; !long {
			dst = append(dst, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return dst, long, err
		}
	}
}

// lines is one NDJSON request on its way; head is what its headers say of every line.
type lines struct {
	g       *Gateway
	space   string
	r       *http.Request
	head    *api.ObserveRequest
	out     *json.Encoder
	number  int
	batch   api.ObserveRequest
	numbers []int
	bytes   int
}

type lineResult struct {
	Line       int             `json:"line"`
	ID         string          `json:"id,omitempty"`
	Position   string          `json:"position,omitempty"`
	Duplicate  bool            `json:"duplicate,omitempty"`
	Searchable bool            `json:"searchable,omitempty"`
	Error      json.RawMessage `json:"error,omitempty"`
}

func (l *lines) refuse(line int, e *wire.Error) bool {
	return l.out.Encode(lineResult{Line: line, Error: wire.ErrorObject(e)}) == nil
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
		refused = mayObserve(l.r.Context(), in)
	}
	if refused == nil {
		check := &observing{g: l.g, space: l.space, req: in}
		refused = check.check()
	}
	if refused != nil {
		l.g.Metrics.Space(l.g.label(l.space)).Rejected(string(refused.Code)).Inc()
		return l.flush() && l.refuse(l.number, refused)
	}
	if !l.g.bodies.take(len(line)) {
		refused = tooManyBodies()
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

// flush sends the batch and writes its results. Where one observation makes the gateway refuse the whole batch, each
// is sent by itself.
func (l *lines) flush() bool {
	if len(l.numbers) == 0 {
		return true
	}
	defer l.g.bodies.give(l.bytes)
	req, numbers := &api.ObserveRequest{
		Observations: l.batch.GetObservations(), Acknowledgement: l.head.GetAcknowledgement(), DeadlineMs: l.head.GetDeadlineMs(),
	}, l.numbers
	l.batch.Observations, l.numbers, l.bytes = nil, nil, 0
	if key := l.head.GetIdempotencyKey(); key != "" {
		req.IdempotencyKey = key + "/" + strconv.Itoa(numbers[0])
	}
	// The request was charged for as one; each batch of its lines is another.
	var resp *api.ObserveResponse
	refused := auth.Charge(l.r.Context(), 1)
	if refused == nil {
		resp, refused = l.g.ObserveWait(l.r.Context(), l.space, req)
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
		one := refused
		if one == nil {
			one = wire.FromProto(resp.GetResults()[i].GetError())
		}
		if one != nil {
			if !l.refuse(n, one) {
				return false
			}
			continue
		}
		res := resp.GetResults()[i]
		if l.out.Encode(lineResult{Line: n, ID: res.GetId(), Position: res.GetPosition(), Duplicate: res.GetDuplicate(), Searchable: res.GetSearchable()}) != nil {
			return false
		}
	}
	return true
}
