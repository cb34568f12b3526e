package importer

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

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// fake is an Engram of one space. trouble, if set, decides about a try to observe before the space does.
type fake struct {
	trouble func(try int, req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error)
	asking  func() *wire.Error // for Get and Spaces
	bad     func(*api.Observation) *wire.Error
	latency time.Duration
	dim     uint32

	mu       sync.Mutex
	ids      []string // in the order of the log
	tries    int
	keys     []string
	sizes    []int
	awaited  string
	underway int
	most     int
	mostNew  int // under way while the space was empty
}

func (f *fake) ObserveRetrying(ctx context.Context, space string, req *api.ObserveRequest, refused func(*wire.Error)) (*api.ObserveResponse, error) {
	if req.GetIdempotencyKey() == "" {
		req.IdempotencyKey = fmt.Sprint("key", len(f.keys))
	}
	for {
		resp, e := f.observe(ctx, req)
		if e == nil {
			return resp, nil
		}
		if !transient(e.Code) {
			return nil, e
		}
		refused(e)
		wait := time.NewTimer(max(e.RetryAfter, time.Millisecond))
		select {
		case <-ctx.Done():
			return nil, wire.Errorf(wire.CodeDeadline, "", "there was no answer in time")
		case <-wait.C:
		}
	}
}

func (f *fake) observe(ctx context.Context, req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.underway++
	f.most = max(f.most, f.underway)
	if len(f.ids) == 0 {
		f.mostNew = max(f.mostNew, f.underway)
	}
	f.mu.Unlock()
	t := time.NewTimer(f.latency)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.underway--
	if ctx.Err() != nil {
		return nil, wire.Errorf(wire.CodeDeadline, "", "there was no answer in time")
	}
	f.tries++
	f.keys = append(f.keys, req.GetIdempotencyKey())
	if f.trouble != nil {
		if resp, e := f.trouble(f.tries, req); resp != nil || e != nil {
			return resp, e
		}
	}
	if f.bad != nil {
		for i, o := range req.GetObservations() {
			if e := f.bad(o); e != nil {
				if len(req.GetObservations()) > 1 && e.Code != wire.CodeMalformed { // which names no observation
					e = e.At(fmt.Sprintf("observations[%d]", i))
				}
				return nil, e
			}
		}
	}
	return f.accept(req), nil
}

// accept puts the observations of a request into the space; f.mu is held.
func (f *fake) accept(req *api.ObserveRequest) *api.ObserveResponse {
	resp := &api.ObserveResponse{}
	for _, o := range req.GetObservations() {
		if !slices.Contains(f.ids, o.GetId()) {
			f.ids = append(f.ids, o.GetId())
		}
		resp.Results = append(resp.Results, &api.ObserveResult{Id: o.GetId(), Position: f.position()})
	}
	f.sizes = append(f.sizes, len(req.GetObservations()))
	return resp
}

func (f *fake) position() string {
	return event.Position{Epoch: "e", Shard: 1, Sequence: uint64(len(f.ids))}.String()
}

func (f *fake) Get(_ context.Context, _ string, req *api.GetRequest) (*api.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asking != nil {
		if e := f.asking(); e != nil {
			return nil, e
		}
	}
	if len(f.ids) == 0 {
		return nil, wire.Errorf(wire.CodeUnknownSpace, "space", "there is no space")
	}
	f.awaited = req.GetAtLeast()
	resp := &api.GetResponse{}
	for _, id := range req.GetIds() {
		if slices.Contains(f.ids, id) {
			resp.Observations = append(resp.Observations, &api.Hit{Id: id})
		}
	}
	return resp, nil
}

func (f *fake) Spaces(context.Context, string) (*api.SpacesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asking != nil {
		if e := f.asking(); e != nil {
			return nil, e
		}
	}
	if f.dim == 0 {
		return nil, wire.Errorf(wire.CodeUnknownSpace, "space", "there is no space")
	}
	return &api.SpacesResponse{Spaces: []*api.SpaceInfo{{Definition: &api.SpaceDefinition{Name: "demo", Dimension: f.dim}}}}, nil
}

// rows is a source of n rows.
type rows int

func (rows) Unit() string            { return "row" }
func (rows) Dimension() int          { return 3 }
func (n rows) Count() (int64, error) { return int64(n), nil }
func (rows) Close() error            { return nil }
func (n rows) Records(emit func(Record) error) error {
	for i := range int64(n) {
		err := emit(Record{Number: i, Consumed: i + 1, Observation: &api.Observation{Id: fmt.Sprint("r:", i), Text: strings.Repeat("x", 100)}})
		if err != nil {
			return err
		}
	}
	return nil
}

// imported runs an import on a clock of its own.
func imported(t *testing.T, f *fake, src Source, cfg Config) (result Result, refusals []string, done int64, err error) {
	t.Helper()
	cfg.Space = "demo"
	cfg.Refused = func(r Refusal) {
		refusals = append(refusals, fmt.Sprintf("%d %s %s", r.Number, r.Err.Code, r.Err.Field))
	}
	cfg.Progress = func(n int64) { done += n }
	synctest.Test(t, func(t *testing.T) { result, err = Run(t.Context(), f, src, cfg) })
	slices.Sort(refusals)
	slices.SortFunc(f.ids, func(a, b string) int { return len(a) - len(b) })
	return result, refusals, done, err
}

func TestRunAndRunAgain(t *testing.T) {
	f := &fake{latency: time.Second}
	got, refusals, done, err := imported(t, f, rows(95), Config{Batch: 10, Window: 3})
	want := Result{Records: 95, Sent: 95, Position: "e.1:95", Searchable: true}
	if err != nil || len(refusals) != 0 || done != 95 || len(f.ids) != 95 {
		t.Fatalf("%d ids, %d done, refusals %v, error %v", len(f.ids), done, refusals, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if f.mostNew != 1 || f.most != 3 {
		t.Errorf("%d requests at once to a new space, %d later; want 1 and 3", f.mostNew, f.most)
	}
	if f.awaited != "e.1:95" {
		t.Errorf("waited for %q", f.awaited)
	}
	// Again, with more at its end.
	f.dim, f.sizes = 3, nil
	got, _, done, err = imported(t, f, rows(97), Config{Batch: 10, Window: 3})
	want = Result{Records: 97, Sent: 2, Present: 95, Position: "e.1:97", Searchable: true}
	if err != nil || done != 97 || len(f.ids) != 97 {
		t.Fatalf("again: %d ids, %d done, error %v", len(f.ids), done, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{2}, f.sizes); diff != "" {
		t.Errorf("what was there was sent: %s", diff)
	}
}

func TestBatchesStayBelowThePayload(t *testing.T) {
	f := &fake{}
	// Each observation has somewhat over 110 bytes.
	_, _, _, err := imported(t, f, rows(20), Config{Batch: 10, Window: 1, MaxPayload: requestOverhead + 500})
	if err != nil || len(f.ids) != 20 || slices.Max(f.sizes) != 4 {
		t.Errorf("%d ids in requests of %v, error %v", len(f.ids), f.sizes, err)
	}
}

// A refused record is found and left out, whether or not the refusal names it.
func TestRefusedRecords(t *testing.T) {
	for name, code := range map[string]wire.Code{"named": wire.CodeWrongDimension, "not named": wire.CodeMalformed} {
		t.Run(name, func(t *testing.T) {
			f := &fake{bad: func(o *api.Observation) *wire.Error {
				if strings.HasSuffix(o.GetId(), "7") {
					return wire.Errorf(code, "embedding", "it is bad")
				}
				return nil
			}}
			got, refusals, done, err := imported(t, f, rows(40), Config{Batch: 20})
			if err != nil || done != 40 || got.Sent != 36 || got.Refused != 4 || len(f.ids) != 36 {
				t.Fatalf("%+v, %d done, error %v", got, done, err)
			}
			var want []string
			for _, n := range []int{17, 27, 37, 7} {
				want = append(want, fmt.Sprintf("%d %s embedding", n, code))
			}
			if diff := cmp.Diff(want, refusals); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryRecordRefused(t *testing.T) {
	f := &fake{bad: func(*api.Observation) *wire.Error { return wire.Errorf(wire.CodeInvalidEmbedding, "", "bad") }}
	got, _, done, err := imported(t, f, rows(9), Config{Batch: 4})
	if diff := cmp.Diff(Result{Records: 9, Refused: 9, Searchable: true}, got); diff != "" || err != nil || done != 9 {
		t.Errorf("%d done, error %v: %s", done, err, diff)
	}
}

// A try that got in by half is repeated whole under its key.
func TestHalfARequest(t *testing.T) {
	f := &fake{trouble: func(try int, req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		if try > 1 {
			return nil, nil
		}
		resp := &api.ObserveResponse{Results: []*api.ObserveResult{{Id: "r:0", Position: "e.1:1"}}}
		for _, o := range req.GetObservations()[1:] {
			resp.Results = append(resp.Results, &api.ObserveResult{Id: o.GetId(), Error: wire.Errorf(wire.CodeUnavailable, "", "no word").Proto()})
		}
		return resp, nil
	}}
	got, refusals, _, err := imported(t, f, rows(5), Config{})
	if err != nil || len(refusals) != 0 || got.Sent != 5 || len(f.ids) != 5 {
		t.Fatalf("%+v, refusals %v, error %v", got, refusals, err)
	}
	if len(f.keys) != 2 || f.keys[0] != f.keys[1] {
		t.Errorf("keys %v", f.keys)
	}
}

// Backpressure is waited out however long it lasts; silence is not.
func TestPatience(t *testing.T) {
	behind := wire.Errorf(wire.CodeBackpressure, "", "the shard is behind")
	behind.RetryAfter = 20 * time.Second
	f := &fake{trouble: func(try int, _ *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		if try <= 100 {
			return nil, behind
		}
		return nil, nil
	}}
	got, _, _, err := imported(t, f, rows(5), Config{Patience: 30 * time.Second})
	if err != nil || got.Sent != 5 || got.Backpressure != 100 {
		t.Errorf("%+v, error %v", got, err)
	}

	gone := wire.Errorf(wire.CodeUnavailable, "", "nobody answers")
	f = &fake{trouble: func(int, *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) { return nil, gone }}
	if got, _, _, err = imported(t, f, rows(5), Config{Patience: 30 * time.Second}); !errors.Is(err, gone) || got.Sent != 0 {
		t.Errorf("%+v, error %v", got, err)
	}
	f = &fake{latency: time.Hour}
	if _, _, _, err = imported(t, f, rows(5), Config{}); err == nil || wire.AsError(err).Code != wire.CodeDeadline {
		t.Errorf("error %v", err)
	}

	// The questions before a batch are as patient.
	asked := 0
	f = &fake{asking: func() *wire.Error {
		if asked++; asked%3 != 0 {
			return gone
		}
		return nil
	}}
	if got, _, _, err = imported(t, f, rows(5), Config{}); err != nil || got.Sent != 5 {
		t.Errorf("%+v, error %v", got, err)
	}
	f = &fake{asking: func() *wire.Error { return gone }}
	if _, _, _, err = imported(t, f, rows(5), Config{}); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestFailuresEndTheRun(t *testing.T) {
	f := &fake{dim: 3, trouble: func(try int, _ *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		if try > 2 {
			return nil, wire.Errorf(wire.CodeInternal, "", "broken")
		}
		return nil, nil
	}}
	got, _, _, err := imported(t, f, rows(10_000), Config{Batch: 10, Window: 1})
	if err == nil || wire.AsError(err).Code != wire.CodeInternal || got.Sent != 20 || got.Records > 100 {
		t.Errorf("%+v, error %v", got, err)
	}
	f = &fake{dim: 4}
	if _, _, _, err = imported(t, f, rows(5), Config{}); err == nil || !strings.Contains(err.Error(), `space "demo" has dimension 4, the embeddings of the file have 3`) {
		t.Errorf("error %v", err)
	}
	for _, cfg := range []Config{{Batch: 1000}, {Batch: -1}, {Window: maxWindow + 1}, {Patience: -1}} {
		if _, _, _, err := imported(t, &fake{}, rows(5), cfg); err == nil || wire.AsError(err).Code != wire.CodeInvalidArgument {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
}

func TestCancel(t *testing.T) {
	f := &fake{dim: 3, latency: time.Second}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		got, err := Run(ctx, f, rows(1000), Config{Space: "demo", Batch: 10, Window: 2})
		if !errors.Is(err, context.DeadlineExceeded) || got.Sent != 40 {
			t.Errorf("%+v, error %v", got, err)
		}
	})
}

// A failure of the file comes after what was before it has been sent.
type torn struct{ rows }

var errTorn = errors.New("the file is torn")

func (s torn) Records(emit func(Record) error) error {
	return errors.Join(s.rows.Records(emit), errTorn)
}

func TestTornFile(t *testing.T) {
	f := &fake{}
	got, _, _, err := imported(t, f, torn{25}, Config{Batch: 10})
	if !errors.Is(err, errTorn) || got.Sent != 25 || len(f.ids) != 25 {
		t.Errorf("%+v, error %v", got, err)
	}
}

// other is a source of one observation that says another space, and one that is said twice.
type other struct{ rows }

func (other) Records(emit func(Record) error) error {
	return errors.Join(
		emit(Record{Number: 1, Consumed: 1, Observation: &api.Observation{Id: "a", Space: "other", Text: "x"}}),
		emit(Record{Number: 2, Consumed: 2, Observation: &api.Observation{Id: "b", Space: "demo", Text: "x"}}),
		emit(Record{Number: 3, Consumed: 3, Observation: &api.Observation{Id: "b", Text: "y"}, Repeated: true}),
	)
}

func TestRecordsThatAreNotSent(t *testing.T) {
	f := &fake{}
	got, refusals, done, err := imported(t, f, other{}, Config{})
	want := Result{Records: 3, Sent: 1, Present: 1, Refused: 1, Position: "e.1:1", Searchable: true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || done != 3 {
		t.Errorf("%d done, error %v: %s", done, err, diff)
	}
	if diff := cmp.Diff([]string{"1 invalid_space space"}, refusals); diff != "" {
		t.Error(diff)
	}
}

func TestIndexOf(t *testing.T) {
	for field, want := range map[string]struct {
		i    int
		rest string
		ok   bool
	}{
		"observations[3].embedding": {3, "embedding", true}, "observations[0]": {0, "", true}, "observations": {}, "embedding": {}, "": {},
		"observations[x]": {}, "observations[-1].id": {}, "observations[1": {},
	} {
		if i, rest, ok := indexOf(field); i != want.i || rest != want.rest || ok != want.ok {
			t.Errorf("%q: %d %q %v", field, i, rest, ok)
		}
	}
}
