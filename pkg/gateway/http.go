package gateway

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// maxBody bounds the body of a request that is decoded whole.
const maxBody = 16 << 20

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
	counted := &countedReader{r: r.Body, held: session.Held{Memory: g.bodies}, conn: http.NewResponseController(w)}
	defer counted.held.Release()
	body, unread := counted.body(w, r, maxBody)
	f, refused := bodyFormat(contentType, body)
	if unread != nil {
		refused = unread
	}
	if refused == nil && !counted.decodes(f, body) {
		refused = session.TooMuchRead()
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

// countedReader counts what is read against a budget until that is released, so that clients that send slowly, however many
// there are, do not fill the memory.
type countedReader struct {
	r    io.ReadCloser
	conn *http.ResponseController
	held session.Held
	n    int  // bytes read
	full bool // there was no room for more
}

var errBodies = errors.New("too much is being read")

// bodySilence is how long a client may send nothing of a body that it has begun.
const bodySilence = 30 * time.Second

func (c *countedReader) Read(p []byte) (int, error) {
	// Where the connection cannot be told, its end is waited for.
	_ = c.conn.SetReadDeadline(time.Now().Add(bodySilence))
	n, err := c.r.Read(p)
	_ = c.conn.SetReadDeadline(time.Time{})
	if !c.held.Grow(n) {
		c.full = true
		return 0, errBodies
	}
	c.n += n
	return n, err
}

// Close closes the body.
func (c *countedReader) Close() error { return c.r.Close() }

// body reads the body of a request, and counts what it has once it is unpacked.
func (c *countedReader) body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *wire.Error) {
	r.Body = c
	body, err := wire.ReadBody(w, r, most)
	if err == nil && !c.held.Grow(len(body)-c.n) {
		c.full = true
	}
	if c.full {
		return nil, session.TooMuchRead()
	}
	return body, err
}

// decodes counts what decoding a body takes beside it; false when that is not there.
func (c *countedReader) decodes(f wire.Format, body []byte) bool {
	return c.held.Grow((session.Factor(f) - 1) * len(body))
}
