package daemon

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/wire"
)

// unhurried bounds how long a client may take to send a body and to take an answer, without a bound on how long a request
// or a stream goes on. A handler of streams that have timeouts of their own takes the one for reading away.
func unhurried(cfg ServerConfig, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		answer := &answering{ResponseWriter: w, rc: rc, timeout: cfg.WriteTimeout}
		if r.Body != nil && r.Body != http.NoBody {
			// A server that cannot set it, as in tests, does without.
			_ = rc.SetReadDeadline(time.Now().Add(cfg.ReadTimeout))
			body := &reading{ReadCloser: r.Body, rc: rc}
			if ofLines(r) {
				body.timeout = cfg.ReadTimeout
			}
			r.Body = body
		}
		next.ServeHTTP(answer, r)
		// What the server still holds is sent when the handler has returned.
		_ = rc.SetWriteDeadline(time.Now().Add(cfg.WriteTimeout))
	})
}

// ofLines tells a body that goes on for as long as it comes from one that is there as a whole before it is looked at. Where no
// lines are taken, a content type makes none of it.
func ofLines(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == wire.TypeNDJSON && strings.HasSuffix(r.URL.Path, "/observations")
}

// reading is a body. At its end the time for it is over, too: what reads the connection from then on only waits for
// the client to go away.
type reading struct {
	io.ReadCloser
	rc      *http.ResponseController
	timeout time.Duration // for each part; 0: there is one for the whole
}

func (b *reading) Read(p []byte) (int, error) {
	if b.timeout > 0 {
		_ = b.rc.SetReadDeadline(time.Now().Add(b.timeout))
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// answering gives each write a time of its own.
type answering struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

func (a *answering) within(write func() error) error {
	_ = a.rc.SetWriteDeadline(time.Now().Add(a.timeout))
	err := write()
	_ = a.rc.SetWriteDeadline(time.Time{})
	return err
}

func (a *answering) Write(p []byte) (n int, err error) {
	err = a.within(func() error {
		n, err = a.ResponseWriter.Write(p)
		return err
	})
	return n, err
}

// Flush is http.Flusher's.
func (a *answering) Flush() { _ = a.FlushError() }

// FlushError is what http.ResponseController calls.
func (a *answering) FlushError() error { return a.within(a.rc.Flush) }

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }
