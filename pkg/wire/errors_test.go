package wire_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestErrorRoundTrip(t *testing.T) {
	for _, e := range []*wire.Error{
		{Code: wire.CodeBackpressure, Message: "a \"b\" <c>", RetryAfter: 240 * time.Millisecond},
		{Code: wire.CodeWrongDimension, Message: "m", Field: "observations[3].embedding"},
		{Code: "a_code_of_tomorrow", Message: "m"},
	} {
		for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
			if got := wire.DecodeError(f, wire.EncodeError(f, e)); *got != *e {
				t.Errorf("got %+v, want %+v", got, e)
			}
		}
		if got := wire.FromProto(e.Proto()); *got != *e {
			t.Errorf("got %+v, want %+v", got, e)
		}
	}
	const want = `{"error":{"code":"too_large","message":"m","field":"text","retry_after_ms":5}}`
	if got := wire.EncodeError(wire.JSON, &wire.Error{Code: wire.CodeTooLarge, Message: "m", Field: "text", RetryAfter: 5 * time.Millisecond}); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	// A message that protobuf cannot carry still reaches the client.
	if got := wire.EncodeError(wire.Protobuf, &wire.Error{Code: wire.CodeInternal, Message: "\xff"}); len(got) == 0 {
		t.Error("nothing was written")
	}
	var none *wire.Error
	if none.Proto() != nil || wire.FromProto(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestDecodeErrorOfSomethingElse(t *testing.T) {
	for _, body := range []string{"", "{}", `{"error":{}}`, `{"error":5}`, "<html>", "\xff\xff", "[]"} {
		for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
			refused(t, wire.DecodeError(f, []byte(body)), wire.CodeInternal, "")
		}
	}
}

func TestErrorWords(t *testing.T) {
	e := wire.Errorf(wire.CodeInvalidArgument, "k", "k is %d", 0)
	if e.Error() != "invalid_argument (k): k is 0" || e.Status() != http.StatusBadRequest {
		t.Errorf("%v, %d", e, e.Status())
	}
	if got := wire.Errorf(wire.CodeInternal, "", "m").Error(); got != "internal: m" {
		t.Error(got)
	}
	if got := (&wire.Error{Code: "a_code_of_tomorrow"}).Status(); got != http.StatusInternalServerError {
		t.Errorf("an unknown code has the status %d", got)
	}
	if at := e.At("observations[3]"); at.Field != "observations[3].k" || e.Field != "k" {
		t.Errorf("%q, and the original says %q", at.Field, e.Field)
	}
	if at := wire.Errorf(wire.CodeInternal, "", "m").At("observations[3]"); at.Field != "observations[3]" {
		t.Error(at.Field)
	}
	if got := wire.AsError(fmt.Errorf("wrapped: %w", e)); got != e {
		t.Errorf("%v", got)
	}
	refused(t, wire.AsError(errors.New("something broke")), wire.CodeInternal, "")
}

func TestWriteError(t *testing.T) {
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		e := &wire.Error{Code: wire.CodeBackpressure, Message: "m", RetryAfter: 1001 * time.Millisecond}
		w := httptest.NewRecorder()
		wire.WriteError(w, f, e)
		h := w.Header()
		if w.Code != http.StatusTooManyRequests || h.Get("Retry-After") != "2" || h.Get("Content-Type") != f.ContentType() {
			t.Errorf("%d %v", w.Code, h)
		}
		if got := wire.DecodeError(f, w.Body.Bytes()); *got != *e {
			t.Errorf("got %+v", got)
		}
	}
	w := httptest.NewRecorder()
	wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeNotFound, "", "m"))
	if _, ok := w.Header()["Retry-After"]; ok || w.Code != http.StatusNotFound {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if got := string(wire.ErrorObject(wire.Errorf(wire.CodeNotFound, "id", "m"))); got != `{"code":"not_found","message":"m","field":"id"}` {
		t.Error(got)
	}
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		contentType, body string
		want              wire.Format
	}{
		{"", `{"text":"a"}`, wire.JSON}, {"", `[]`, wire.JSON}, {"", "", wire.Protobuf}, {"", "\x0a\x00", wire.Protobuf},
		{"application/json", "\x0a", wire.JSON}, {"application/json; charset=utf-8", "", wire.JSON},
		{"application/protobuf", "{", wire.Protobuf}, {"application/x-protobuf", "[", wire.Protobuf},
		{"Application/JSON", "", wire.JSON},
	} {
		if got, err := wire.FormatOf(c.contentType, []byte(c.body)); err != nil || got != c.want {
			t.Errorf("%q with %q is %v, %v", c.contentType, c.body, got, err)
		}
	}
	for _, contentType := range []string{"text/plain", "application/x-ndjson", "json", ";", "a/b/c"} {
		f, err := wire.FormatOf(contentType, nil)
		refused(t, err, wire.CodeMalformed, "Content-Type")
		if f != wire.JSON {
			t.Errorf("%q is refused in format %d", contentType, f)
		}
	}
}

// Field 1 of length 91 or 123 is a newline and a bracket: no protobuf is taken for JSON because of what it holds.
func TestProtobufIsNotTakenForJSON(t *testing.T) {
	for n := range 300 {
		for _, m := range []proto.Message{
			&api.ObserveRequest{Observations: []*api.Observation{{Text: string(make([]byte, n))}}},
			&api.ObserveRequest{DeadlineMs: uint32(n)}, &api.AwaitRequest{Sequence: uint64(n)}, &api.AwaitRequest{DeadlineMs: uint32(n)},
			&api.RecallRequest{Space: string(make([]byte, n))}, &api.RecallRequest{K: proto.Uint32(uint32(n))}, &api.GetRequest{Ids: make([]string, n)},
		} {
			b := marshal(t, m)
			if f, err := wire.FormatOf("", b); err != nil || f != wire.Protobuf {
				t.Fatalf("%.20q… of %T is %v, %v", b, m, f, err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]api.Metric{"": 0, "cosine": api.Metric_METRIC_COSINE, "dot": api.Metric_METRIC_DOT, "l2": api.Metric_METRIC_L2} {
		if got, err := wire.ParseMetric(s); err != nil || got != want || wire.MetricName(got) != s {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]api.Priority{"": 0, "normal": api.Priority_PRIORITY_NORMAL, "high": api.Priority_PRIORITY_HIGH} {
		if got, err := wire.ParsePriority(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]api.Acknowledgement{"": 0, "accepted": 1, "searchable": 2} {
		if got, err := wire.ParseAck(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	_, err := wire.ParseMetric("Cosine")
	refused(t, err, wire.CodeInvalidArgument, "metric")
	_, err = wire.ParsePriority("2")
	refused(t, err, wire.CodeInvalidArgument, "priority")
	_, err = wire.ParseAck("durable")
	refused(t, err, wire.CodeInvalidArgument, "acknowledgement")
	if got := wire.MetricName(9); got != "9" {
		t.Errorf("metric 9 is %q", got)
	}
}

// An answer fits a message, whatever was sent.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("é", 1<<19)
	_, _, unknown := wire.DecodeObserve(wire.JSON, []byte(`[{},{"`+long+`":1}]`))
	_, contentType := wire.FormatOf("x/"+long, nil)
	for name, e := range map[string]*wire.Error{
		"unknown field": unknown, "content type": contentType, "space": wire.CheckSpace(long),
		"not text": wire.Errorf(wire.CodeInternal, "a\xff", "b\xff"),
	} {
		if e == nil || len(e.Message) > 1024 || len(e.Field) > 160 || !utf8.ValidString(e.Message) || !utf8.ValidString(e.Field) {
			t.Errorf("%s: %+.200v", name, e)
		}
	}
}
