package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns what stands below a heading, up to the next one of its level or above.
func section(t *testing.T, doc, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/wire.md has no %q", heading)
	}
	level := len(heading) - len(strings.TrimLeft(heading, "#"))
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

func TestDocumentedCodes(t *testing.T) {
	got := map[wire.Code]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\| .{5,} \\|$").FindAllStringSubmatch(section(t, document(t), "## Errors"), -1) {
		status, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		got[wire.Code(row[1])] = status
	}
	if want := wire.Codes(); !maps.Equal(got, want) {
		t.Errorf("docs/wire.md has the codes %v\nthe code has %v", got, want)
	}
}

// Each status of a code has its line in the table of the other transports' codes.
func TestDocumentedTransportCodes(t *testing.T) {
	rows := map[int][2]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([0-9]{3}) \\| ([0-9]+) `([A-Z_]+)` \\| ([0-9]{4}) \\|$").FindAllStringSubmatch(section(t, document(t), "## Errors"), -1) {
		var n [3]int
		for i, text := range []string{row[1], row[2], row[4]} {
			v, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			n[i] = v
		}
		rows[n[0]] = [2]int{n[1], n[2]}
	}
	for code, status := range wire.Codes() {
		e := wire.Errorf(code, "", "a test")
		if got, want := rows[status], [2]int{int(e.GRPC()), e.Close()}; got != want {
			t.Errorf("%s (%d): docs/wire.md says %v, the code %v", code, status, got, want)
		}
	}
}

// Every method of a service has its row, with its messages.
func TestDocumentedServices(t *testing.T) {
	text := section(t, document(t), "## Over gRPC and Connect")
	services := api.File_engram_v1_services_proto.Services()
	for i := range services.Len() {
		for j := range services.Get(i).Methods().Len() {
			m := services.Get(i).Methods().Get(j)
			in, out := string(m.Input().Name()), string(m.Output().Name())
			if m.IsStreamingClient() {
				in += ", a stream"
			}
			if m.IsStreamingServer() {
				out += ", a stream"
			}
			row := fmt.Sprintf("| `%s/%s` | %s → %s |", services.Get(i).FullName(), m.Name(), in, out)
			if !strings.Contains(text, row) {
				t.Errorf("docs/wire.md has no %s", row)
			}
		}
	}
}

// Every frame has its row, with its fields.
func TestDocumentedFrames(t *testing.T) {
	text := section(t, document(t), "## Streams")
	for _, m := range []protoreflect.ProtoMessage{&api.ObserveStreamRequest{}, &api.ObserveStreamResponse{}} {
		frames := m.ProtoReflect().Descriptor().Fields()
		for i := range frames.Len() {
			name := string(frames.Get(i).Name())
			row := regexp.MustCompile("(?m)^\\|[^|]*`" + name + "`[^|]*\\|([^|]*)\\|.*\\|$").FindStringSubmatch(text)
			if row == nil {
				t.Errorf("docs/wire.md has no row of the frame %s", name)
				continue
			}
			fields := frames.Get(i).Message().Fields()
			for j := range fields.Len() {
				if !strings.Contains(row[1], "`"+string(fields.Get(j).Name())+"`") {
					t.Errorf("docs/wire.md does not name the field %s of the frame %s", fields.Get(j).Name(), name)
				}
			}
			if got := strings.Count(row[1], "`") / 2; got != fields.Len() {
				t.Errorf("docs/wire.md has %d fields of the frame %s, which has %d", got, name, fields.Len())
			}
		}
	}
}

// constants returns the integer constants of files of package event. What they import is not needed for that.
func constants(t *testing.T, names ...string) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, "../event/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := (&types.Config{Error: func(error) {}}).Check("event", fset, files, nil)
	if pkg == nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() == constant.Int {
			out[name] = c.Val().ExactString()
		}
	}
	return out
}

func TestDocumentedLimits(t *testing.T) {
	want := constants(t, "limits.go", "space.go")
	if want["MaxID"] != strconv.Itoa(event.MaxID) || want["MaxText"] != strconv.Itoa(event.MaxText) {
		t.Fatalf("read the constants as %v", want)
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| .+ \\| ([0-9]+).* \\| `([A-Za-z]+)` \\|$").FindAllStringSubmatch(section(t, document(t), "## Limits"), -1) {
		got[row[2]] = row[1]
	}
	if !maps.Equal(got, want) {
		t.Errorf("docs/wire.md has the limits %v\nthe code has %v", got, want)
	}
}

func TestDocumentedNames(t *testing.T) {
	doc := document(t)
	for _, name := range []string{
		bus.ObserveSubject("<space>"), bus.ForgetSubject("<space>"), bus.RecallSubject("<space>"), bus.GetSubject("<space>"),
		bus.ListSubject("<space>"), bus.DefineSubject("<space>"), bus.CompactSubject("<space>"), bus.ProveSubject("<space>"), bus.PressureSubject("<space>"), bus.RecallManySubject, bus.SpacesSubject, bus.HeartbeatSubject("<worker>"),
		wire.HeaderAck, wire.HeaderDeadline, wire.HeaderIdempotencyKey, bus.HeaderContentType, bus.HeaderSpace, bus.HeaderMsgID,
		bus.HeaderPosition, bus.HeaderReason, wire.TypeJSON, wire.TypeProtobuf, wire.TypeNDJSON,
	} {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/wire.md does not name %s", name)
		}
	}
	for _, name := range []string{
		strings.Replace(bus.LogSubject(0, "<space>"), "0", "<shard>", 1), strings.Replace(bus.QuarantineSubject(0), "0", "<n>", 1),
		strings.Replace(bus.ShardSubject(0, bus.VerbRecall), "0", "<n>", 1), strings.Replace(bus.ShardSubject(0, bus.VerbCompact), "0", "<n>", 1), strings.Replace(bus.LogStream(0), "0", "<shard>", 1), bus.QuarantineStream,
	} {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/wire.md does not name %s", name)
		}
	}
	for _, verb := range []string{bus.VerbGet, bus.VerbList, bus.VerbSpaces, bus.VerbAwait, bus.VerbLook, bus.VerbSnapshot} {
		if !strings.Contains(doc, "`."+verb+"`") {
			t.Errorf("docs/wire.md does not name the verb %s of a shard", verb)
		}
	}
}

// example is a fenced block whose info string says what it is: "json recall-answer".
type example struct{ language, kind, text string }

func examples(t *testing.T) []example {
	t.Helper()
	var all []example
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]+)(?: ([a-z-]+))?\n(.*?)^```$").FindAllStringSubmatch(document(t), -1) {
		all = append(all, example{m[1], m[2], m[3]})
	}
	return all
}

// Every request of the document is one that the decoders take, and every answer has the fields that the encoders write.
func TestDocumentedExamples(t *testing.T) {
	seen := map[string]int{}
	answers := fullAnswers(t)
	for _, e := range examples(t) {
		seen[e.kind]++
		texts := []string{e.text}
		switch e.language {
		case "json":
		case "ndjson":
			texts = strings.Split(strings.TrimSpace(e.text), "\n")
		default:
			t.Errorf("an example in %q: %s", e.language, e.text)
		}
		for _, text := range texts {
			if full, ok := answers[e.language+" "+e.kind]; ok {
				sameShape(t, e.kind, text, full)
			} else if err := decodeExample(e.kind, []byte(text)); err != nil {
				t.Errorf("an example of %q: %v\n%s", e.kind, err, text)
			}
		}
	}
	for _, kind := range []string{
		"observe", "recall", "get", "list", "forget", "spaces", "define", "compact", "prove", "error", "frame", "frame-answer",
		"observe-answer", "recall-answer", "get-answer", "list-answer", "forget-answer", "spaces-answer", "define-answer", "compact-answer", "prove-answer",
	} {
		if seen[kind] == 0 {
			t.Errorf("docs/wire.md has no example of %s; it has %v", kind, seen)
		}
	}
}

func decodeExample(kind string, body []byte) error {
	var refusal *wire.Error
	switch kind {
	case "observe":
		var req *api.ObserveRequest
		if req, _, refusal = wire.DecodeObserve(wire.JSON, body); refusal == nil {
			for _, o := range req.GetObservations() {
				if refusal == nil {
					refusal = wire.CheckObservation(o)
				}
				if refusal == nil && o.GetEmbedding() != nil {
					_, refusal = wire.EmbeddingF32(o.GetEmbedding(), true)
				}
			}
		}
	case "recall":
		var req *api.RecallRequest
		if req, refusal = wire.DecodeRecall(wire.JSON, body); refusal == nil {
			refusal = wire.CheckRecall(req)
		}
		if refusal == nil && len(req.GetSpaces())+len(req.GetPrefix()) > 0 {
			refusal = wire.CheckSpaces(req)
		}
	case "get":
		_, refusal = wire.DecodeGet(wire.JSON, body)
	case "list":
		_, refusal = wire.DecodeList(wire.JSON, body)
	case "forget":
		_, refusal = wire.DecodeForget(wire.JSON, body)
	case "define":
		var req *api.DefineRequest
		if req, refusal = wire.DecodeDefine(wire.JSON, body); refusal == nil {
			refusal = wire.CheckDefine(req)
		}
	case "prove":
		_, refusal = wire.DecodeProve(wire.JSON, body)
	case "compact":
		_, refusal = wire.DecodeCompact(wire.JSON, body)
	case "spaces":
		_, refusal = wire.DecodeSpaces(wire.JSON, body)
	case "frame":
		_, refusal = wire.DecodeFrame(wire.JSON, body)
	case "frame-answer":
		_, refusal = wire.DecodeFrameResponse(wire.JSON, body)
	case "error":
		if e := wire.DecodeError(wire.JSON, body); wire.Codes()[e.Code] == 0 || e.Code == wire.CodeInternal || !json.Valid(body) {
			return fmt.Errorf("it is %+v", e)
		}
	default:
		return fmt.Errorf("nothing decodes the kind %q", kind)
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// fullAnswers returns, for each kind of answer, the JSON of one in which every field is set. The lines of NDJSON are
// written by the gateway: here stand their fields.
func fullAnswers(t *testing.T) map[string][]byte {
	t.Helper()
	hit := &api.Hit{
		Id: "a", Score: 1, ObservedAt: 1, Position: "e.0:1", Text: "t", Metadata: map[string]*api.Value{"service": text("x"), "attempt": number(1), "paged": boolean(true)},
		Embedding: f32(1), Priority: api.Priority_PRIORITY_HIGH, Importance: 1, ExpiresAt: 1, Session: "s", Sequence: 1,
		Space: "s", Similarity: 1,
	}
	failed := &api.Error{Code: "deadline", Message: "m", Field: "f", RetryAfterMs: 1}
	result := &api.ObserveResult{Id: "a", Position: "e.0:1", Duplicate: true, Searchable: true, Error: failed}
	out := map[string][]byte{}
	add := func(kind string, b []byte, refusal *wire.Error) {
		if refusal != nil {
			t.Fatal(refusal)
		}
		out[kind] = b
	}
	b, refusal := wire.EncodeRecall(wire.JSON, &api.RecallResponse{
		Hits: []*api.Hit{hit}, Next: "n", Spaces: []*api.SpaceAnswer{{Space: "s", Applied: "e.0:1", Error: failed}},
	})
	add("json recall-answer", b, refusal)
	b, refusal = wire.EncodeGet(wire.JSON, &api.GetResponse{Observations: []*api.Hit{hit}})
	add("json get-answer", b, refusal)
	b, refusal = wire.EncodeList(wire.JSON, &api.ListResponse{Observations: []*api.Hit{hit}, Next: "n"})
	add("json list-answer", b, refusal)
	b, refusal = wire.EncodeForget(wire.JSON, &api.ForgetResponse{Position: "e.0:1", Searchable: true})
	add("json forget-answer", b, refusal)
	b, refusal = wire.EncodeSpaces(wire.JSON, &api.SpacesResponse{Spaces: []*api.SpaceInfo{{}}}, false)
	add("json spaces-answer", b, refusal)
	b, refusal = wire.EncodeDefine(wire.JSON, &api.DefineResponse{})
	add("json define-answer", b, refusal)
	b, refusal = wire.EncodeCompact(wire.JSON, &api.CompactResponse{Copies: []*api.CompactedCopy{{Error: failed}}})
	add("json compact-answer", b, refusal)
	b, refusal = wire.EncodeProve(wire.JSON, &api.ProveResponse{Looked: []*api.Looked{{Note: "n", Error: failed}}})
	add("json prove-answer", b, refusal)
	one, refusal := wire.EncodeObserve(wire.JSON, &api.ObserveResponse{Results: []*api.ObserveResult{result}}, true)
	add("ndjson observe-answer", bytes.Replace(one, []byte("{"), []byte(`{"line":1,`), 1), refusal)
	many, refusal := wire.EncodeObserve(wire.JSON, &api.ObserveResponse{Results: []*api.ObserveResult{result}}, false)
	// A single result, or several.
	add("json observe-answer", bytes.Replace(one, []byte("{"), append(bytes.TrimSuffix(many, []byte("}")), ','), 1), refusal)
	return out
}

// sameShape checks that an example has no field that the full answer has not, and the same type in each.
func sameShape(t *testing.T, kind, text string, full []byte) {
	t.Helper()
	var got, want any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Errorf("an example of %s: %v\n%s", kind, err, text)
		return
	}
	if err := json.Unmarshal(full, &want); err != nil {
		t.Fatal(err)
	}
	compareShape(t, kind, got, want)
}

func compareShape(t *testing.T, path string, got, want any) {
	t.Helper()
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Errorf("%s is a %T in docs/wire.md, and a %T in an answer", path, got, want)
		return
	}
	switch got := got.(type) {
	case map[string]any:
		fields, _ := want.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s.%s is in docs/wire.md, and not in an answer", path, name)
				continue
			}
			compareShape(t, path+"."+name, got[name], fields[name])
		}
	case []any:
		all, _ := want.([]any)
		for i := range got {
			if len(all) > 0 {
				compareShape(t, fmt.Sprintf("%s[%d]", path, i), got[i], all[0])
			}
		}
	}
}
