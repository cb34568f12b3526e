package main

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/engram-memory/engram/pkg/event"
)

// hit is an observation as --json prints it.
type hit struct {
	ID         string         `json:"id"`
	Score      *float32       `json:"score"`
	ObservedAt time.Time      `json:"observed_at"`
	Position   string         `json:"position"`
	Text       string         `json:"text"`
	Metadata   map[string]any `json:"metadata"`
	Embedding  []float32      `json:"embedding"`
	Priority   string         `json:"priority"`
	Importance float32        `json:"importance"`
	ExpiresAt  *time.Time     `json:"expires_at"`
	Space      string         `json:"space"`
	Similarity float32        `json:"similarity"`
}

type recalled struct {
	Hits        []hit   `json:"hits"`
	Applied     string  `json:"applied"`
	StalenessMS float64 `json:"staleness_ms"`
	Searched    int     `json:"searched"`
	Exact       bool    `json:"exact"`
	TookUS      int     `json:"took_us"`
	Next        string  `json:"next"`
	Spaces      []any   `json:"spaces"`
}

type found struct {
	Observations []hit   `json:"observations"`
	Applied      string  `json:"applied"`
	StalenessMS  float64 `json:"staleness_ms"`
	More         bool    `json:"more"`
	Next         string  `json:"next"`
	Searched     int     `json:"searched"`
	Exact        bool    `json:"exact"`
	TookUS       int     `json:"took_us"`
}

type observed struct {
	ID         string `json:"id"`
	Position   string `json:"position"`
	Duplicate  bool   `json:"duplicate"`
	Searchable bool   `json:"searchable"`
}

func idsOf(hits []hit) (ids []string) {
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	return ids
}

func TestCommands(t *testing.T) {
	startNode(t)
	t.Run("text", testText)
	t.Run("embeddings", testEmbeddings)
	t.Run("list", testList)
	t.Run("forget", testForget)
	t.Run("prove", testProve)
	t.Run("several", testSeveral)
	t.Run("create", testCreate)
	t.Run("past", testPast)
	t.Run("compact", testCompact)
	t.Run("refusals", testRefusals)
	t.Run("completion", testCompletion)
}

func testText(t *testing.T) {
	contains(t, engram(t, "observe", "notes", "the door code\x1b[2J is 4711", "--id", "door", "--ack", "searchable", "--meta", "floor=2",
		"--meta", "open=true", "--meta", `label="2"`, "--meta", "house=07", "--meta", "url=a=b", "--importance", "0.5", "--priority", "high",
		"--expires", "24h"), "door searchable at ")

	stdin := strings.NewReader("the kettle is\r\nin the kitchen\r\n")
	o := engramIn(t.Context(), stdin, "observe", "notes", "--json", "--idempotency-key", "k1", "--ack", "searchable")
	first := decode[observed](t, o.stdout)
	if o.code != 0 || first.ID != "k1" || first.Position == "" || !first.Searchable || first.Duplicate {
		t.Fatalf("%+v: %+v", o, first)
	}
	again := decode[observed](t, engram(t, "observe", "notes", "the same", "--json", "--idempotency-key", "k1"))
	if !again.Duplicate || again.Position != first.Position {
		t.Errorf("the retry: %+v", again)
	}
	contains(t, engram(t, "observe", "notes", "the same", "--idempotency-key", "k1"), "k1 had been accepted before at "+first.Position)

	text := engram(t, "recall", "notes", "what is the door code?", "--at-least", first.Position, "--deadline", "5s")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 4 || strings.Fields(lines[0])[0] != "SCORE" || strings.Fields(lines[1])[1] != "door" {
		t.Fatalf("the table:\n%s", text)
	}
	contains(t, lines[3], "2 hits, applied "+first.Position, "staleness 0.0 ms", "searched 2", "exact", "took ")
	if strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("a control character reaches the terminal: %q", text)
	}
	contains(t, engram(t, "recall", "notes", "zzz", "--min-score", "0.99"), "0 hits, ")

	r := decode[recalled](t, engram(t, "recall", "notes", "kettle", "-k", "1", "--json", "--include", "none"))
	if len(r.Hits) != 1 || r.Hits[0].ID != "k1" || r.Hits[0].Text != "" || *r.Hits[0].Score <= 0 || r.Applied != first.Position || !r.Exact {
		t.Errorf("%+v", r)
	}
	r = decode[recalled](t, engram(t, "recall", "notes", "--id", "door", "--json"))
	if diff := cmp.Diff([]string{"k1"}, idsOf(r.Hits)); diff != "" {
		t.Error(diff)
	}

	got := decode[found](t, engram(t, "get", "notes", "door", "k1", "--json"))
	if len(got.Observations) != 2 {
		t.Fatalf("%+v", got)
	}
	h := got.Observations[0]
	want := map[string]any{"floor": 2.0, "open": true, "label": "2", "house": "07", "url": "a=b"}
	if diff := cmp.Diff(want, h.Metadata); diff != "" {
		t.Error(diff)
	}
	if h.Importance != 0.5 || h.Priority != "high" || h.ExpiresAt == nil || h.Text != "the door code\x1b[2J is 4711" {
		t.Errorf("%+v", h)
	}
	if left := time.Until(*h.ExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("expires in %v", left)
	}
	if second := got.Observations[1]; second.Text != "the kettle is\r\nin the kitchen" {
		t.Errorf("the text from stdin: %q", second.Text)
	}
	contains(t, engram(t, "get", "notes", "door"), "id         door", "priority   high", "importance 0.5",
		`metadata   floor=2 house="07" label="2" open=true url="a=b"`, "text       the door code")
}

func testEmbeddings(t *testing.T) {
	packed := base64.StdEncoding.EncodeToString(event.AppendF32(nil, []float32{0, 1, 0}))
	engram(t, "observe", "points", "--id", "x", "--embedding", "[1, 0, 0]")
	engram(t, "observe", "points", "named y", "--id", "y", "--embedding", packed)
	engram(t, "observe", "points", "--id", "z", "--embedding", "@"+writeFile(t, "z.json", "[0,0,1]\n"), "--ack", "searchable")
	r := decode[recalled](t, engram(t, "recall", "points", "--embedding", "[0.1,0.9,0.2]", "--include", "embedding,text", "--json"))
	if diff := cmp.Diff([]string{"y", "z", "x"}, idsOf(r.Hits)); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]float32{0, 1, 0}, r.Hits[0].Embedding); diff != "" || r.Hits[0].Text != "named y" {
		t.Errorf("%+v", r.Hits[0])
	}
	contains(t, engram(t, "get", "points", "z", "--include", "embedding"), "embedding  [0, 0, 1]")
}

func testList(t *testing.T) {
	for _, id := range []string{"a", "b", "c"} {
		engram(t, "observe", "listed", "text of "+id, "--id", id, "--ack", "searchable")
	}
	all := decode[found](t, engram(t, "list", "listed", "--json"))
	if diff := cmp.Diff([]string{"c", "b", "a"}, idsOf(all.Observations)); diff != "" || all.More {
		t.Fatal(diff)
	}
	text := engram(t, "list", "listed", "--limit", "2")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	cursor, ok := strings.CutPrefix(lines[len(lines)-1], "more: --cursor ")
	if len(lines) != 4 || !ok || strings.Fields(lines[1])[1] != "c" {
		t.Fatalf("the page:\n%s", text)
	}
	for _, page := range [][]string{{"--cursor", cursor}, {"--before", all.Observations[1].Position}} {
		rest := decode[found](t, engram(t, append([]string{"list", "listed", "--json"}, page...)...))
		if diff := cmp.Diff([]string{"a"}, idsOf(rest.Observations)); diff != "" {
			t.Error(diff)
		}
	}
	oldest := decode[found](t, engram(t, "list", "listed", "--order", "oldest", "--filter", `id != "b"`, "--from", "2020-01-02T15:04:05Z", "--json"))
	if diff := cmp.Diff([]string{"a", "c"}, idsOf(oldest.Observations)); diff != "" {
		t.Error(diff)
	}
	contains(t, engram(t, "list", "listed", "--order", "latest", "--to", "2020-01-02T15:04:05Z"), "no observations")
	contains(t, fails(t, exitUsage, "list", "listed", "--from", "yesterday"), "--from is \"yesterday\"")
	contains(t, fails(t, exitUsage, "list", "listed", "--order", "best"), "order")
	contains(t, fails(t, exitFailure, "list", "listed", "--filter", "id =="), "filter_invalid (filter): the filter is wrong at line 1, column 6")
}

func testForget(t *testing.T) {
	for _, id := range []string{"a", "b"} {
		engram(t, "observe", "lost", "text of "+id, "--id", id, "--ack", "searchable")
	}
	contains(t, engram(t, "forget", "lost", "a", "--ack", "searchable"), "forgot 1 id of lost as of ")
	o := engramIn(t.Context(), strings.NewReader(""), "get", "lost", "a", "b", "--json")
	if got := decode[found](t, o.stdout); o.code != exitFailure || len(got.Observations) != 1 || got.Observations[0].ID != "b" {
		t.Errorf("%+v", o)
	}
	if want := "engram: not_found (ids): space \"lost\" has no observation \"a\"\n"; o.stderr != want {
		t.Errorf("stderr %q, want %q", o.stderr, want)
	}
	gone := decode[observed](t, engram(t, "forget", "lost", "b", "--ack", "searchable", "--json"))
	if gone.Position == "" || !gone.Searchable {
		t.Errorf("%+v", gone)
	}
	contains(t, engram(t, "list", "lost"), "no observations")
	contains(t, engram(t, "forget", "lost", "--all", "--yes"), "forgot space lost as of ")
	contains(t, fails(t, exitFailure, "list", "lost"), "unknown_space")
}

func testCreate(t *testing.T) {
	args := []string{"create", "made", "--dim", "3", "--metric", "l2", "--vectors", "f16", "--engine", "exact"}
	contains(t, engram(t, args...), "made created: dimension 3, metric l2, vectors f16, engine exact, embedder none, quota none, in shard ")
	contains(t, engram(t, args...), "made is there already: dimension 3, metric l2")
	type created struct {
		definition
		Created  bool               `json:"created"`
		Revision int                `json:"revision"`
		Quota    map[string]float64 `json:"quota"`
	}
	c := decode[created](t, engram(t, append(args, "--json")...))
	if c.Created || c.Space != "made" || c.Dimension != 3 || c.Metric != "l2" || c.Vectors != "f16" || c.Engine != "exact" || c.Embedder != "none" || c.Generation != 1 {
		t.Errorf("%+v", c)
	}
	contains(t, fails(t, exitFailure, "create", "made", "--metric", "dot"), "engram: conflict (metric): space \"made\" has the metric l2, and the request says dot")
	contains(t, engram(t, "create", "made", "--quota-observations", "500", "--quota-stored", "1000"), "quota 500/s and 1,000 stored")
	if c = decode[created](t, engram(t, "create", "made", "--quota-observations", "0", "--json")); len(c.Quota) != 1 || c.Quota["stored_observations"] != 1000 {
		t.Errorf("%+v", c)
	}
	contains(t, engram(t, "status"), "QUOTA", "1,000 stored")
	contains(t, engram(t, "create", "worded", "--embedder", "lexical", "--dim", "16"), "embedder lexical")
	engram(t, "observe", "made", "--id", "a", "--embedding", "[0,3,0]", "--ack", "searchable")
	if r := decode[recalled](t, engram(t, "recall", "made", "--embedding", "[0,1,0]", "--json")); len(r.Hits) != 1 || *r.Hits[0].Score != -4 {
		t.Errorf("%+v", r)
	}
	contains(t, engram(t, "status"), "ENGINE", "VECTORS", "exact", "f16")
}

func testPast(t *testing.T) {
	engram(t, "observe", "past", "--id", "x", "--embedding", "[1,0]", "first")
	then := decode[observed](t, engram(t, "observe", "past", "--id", "y", "--embedding", "[0,1]", "--ack", "searchable", "--json")).Position
	engram(t, "forget", "past", "x", "--ack", "searchable")
	if r := decode[recalled](t, engram(t, "recall", "past", "--embedding", "[1,0]", "--json", "--recall", "exact")); !cmp.Equal(idsOf(r.Hits), []string{"y"}) || !r.Exact {
		t.Errorf("now: %+v", r)
	}
	if r := decode[recalled](t, engram(t, "recall", "past", "--embedding", "[1,0]", "--json", "--as-of", then, "--recall", "fast", "--ef", "7")); !cmp.Equal(idsOf(r.Hits), []string{"x", "y"}) {
		t.Errorf("then: %+v", r)
	}
	if l := decode[found](t, engram(t, "list", "past", "--as-of", then, "--json")); !cmp.Equal(idsOf(l.Observations), []string{"y", "x"}) {
		t.Errorf("then: %+v", l)
	}
	contains(t, engram(t, "get", "past", "x", "--as-of", then), "text       first")
}

func testCompact(t *testing.T) {
	for range 2 {
		engram(t, "observe", "dense", "--id", "a", "--embedding", "[1,0]", "--ack", "searchable")
	}
	text := engram(t, "compact", "dense")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "WORKER") || strings.Fields(lines[1])[1] != "2" {
		t.Fatalf("the table:\n%s", text)
	}
	type compacted struct {
		Copies []struct {
			Worker         string  `json:"worker"`
			RowsBefore     uint64  `json:"rows_before"`
			RowsAfter      uint64  `json:"rows_after"`
			RowsReclaimed  uint64  `json:"rows_reclaimed"`
			LogBytesBefore uint64  `json:"log_bytes_before"`
			LogBytesAfter  uint64  `json:"log_bytes_after"`
			TookMS         float64 `json:"took_ms"`
		} `json:"copies"`
	}
	c := decode[compacted](t, engram(t, "compact", "dense", "--json", "--timeout", "20s"))
	if len(c.Copies) != 1 || c.Copies[0].Worker == "" || c.Copies[0].RowsAfter > c.Copies[0].RowsBefore || c.Copies[0].RowsBefore-c.Copies[0].RowsAfter != c.Copies[0].RowsReclaimed {
		t.Errorf("%+v", c)
	}
	if l := decode[found](t, engram(t, "list", "dense", "--json")); !cmp.Equal(idsOf(l.Observations), []string{"a"}) {
		t.Errorf("%+v", l)
	}
}

func testRefusals(t *testing.T) {
	engram(t, "observe", "three", "--embedding", "[1,2,3]", "--ack", "searchable")
	engram(t, "observe", "wordy", "words", "--ack", "searchable")
	const unknown = "engram: unknown_space (space): there is no space \"nowhere\"; GET /v1/spaces and \"engram status\" list the ones there are\n"
	for _, tc := range []struct{ args, want string }{
		{"observe three --embedding [1,2]", "engram: wrong_dimension (embedding): "},
		{"observe three --embedding [0,0,0]", "engram: invalid_embedding (embedding): "},
		{"recall three --embedding [1,2]", "engram: wrong_dimension (embedding): "},
		{"recall three --embedding [1,2,3] --at-least another.0:1", "engram: invalid_position (at_least): "},
		{"recall three --embedding [1,2,3] --as-of another.0:1", "engram: invalid_position (as_of): "},
		{"list three --as-of another.0:1", "engram: invalid_position (as_of): "},
		{"create three --dim 4", "engram: conflict (dimension): "},
		{"create new --embedder http:nobody", "engram: invalid_argument (embedder): "},
		{"create new --embedder none", "engram: invalid_argument (dimension): "},
		{"compact nowhere", unknown},
		{"recall three --id nobody", "engram: not_found"},
		{"recall nowhere text", unknown},
		{"get nowhere id", unknown},
		{"list nowhere", unknown},
		{"forget nowhere id", unknown},
		{"observe three text", "engram: invalid_embedding (text): space \"three\" has no embedder"},
		{"recall three text", "engram: invalid_embedding (text): space \"three\" has no embedder"},
		{"observe wordy ...", "engram: invalid_embedding (text): the text has no word"},
	} {
		contains(t, fails(t, exitFailure, strings.Fields(tc.args)...), tc.want)
	}
}

func testCompletion(t *testing.T) {
	engram(t, "observe", "completed", "text")
	o := engramIn(t.Context(), strings.NewReader(""), "__complete", "recall", "")
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	contains(t, o.stdout, "completed\n", ":4\n")
}
