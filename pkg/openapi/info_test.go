package openapi_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
)

// mostInfo is far below the largest message of NATS, of 1 MiB: INFO is one message.
const mostInfo = 64 << 10

// endpointCase is a body that an endpoint takes, and some that it refuses, whatever is in the space.
type endpointCase struct {
	subject, good string
	wrong         []string
}

func endpointCases() map[string]endpointCase {
	unknown := `{"nonsense": 1}`
	return map[string]endpointCase{
		"observe": {"engram.observe.notes", `{"id": "a", "embedding": [1, 0], "metadata": {"n": 1}, "acknowledgement": "searchable"}`,
			[]string{unknown, `{"id": 1}`, `{"embedding": [1, 0], "priority": "urgent"}`, `[{"embedding": "x", "k": 1}]`}},
		"forget":      {"engram.forget.notes", `{"ids": ["b"]}`, []string{unknown, `{"ids": "b"}`, `{"ids": ["b"], "acknowledgement": "never"}`}},
		"define":      {"engram.define.notes", `{"dimension": 2, "quota": {"bytes_per_second": 1e9}}`, []string{unknown, `{"dimension": 0}`, `{"metric": "hamming"}`}},
		"recall":      {"engram.recall.notes", `{"embedding": [1, 0], "k": 3, "include": ["embedding", "metadata"]}`, []string{unknown, `{"embedding": [1, 0], "k": 0}`, `{"embedding": [1, 0], "recall": "hard"}`}},
		"recall-many": {"engram.recall", `{"embedding": [1, 0], "spaces": ["notes"]}`, []string{unknown, `{"embedding": [1, 0], "spaces": "notes"}`}},
		"get":         {"engram.get.notes", `{"id": "a", "include": ["none"]}`, []string{unknown, `{"ids": [1]}`, `{"ids": ["a"], "include": ["all"]}`}},
		"list":        {"engram.list.notes", `{"limit": 3, "order": "latest", "from": "2026-01-02T15:04:05Z"}`, []string{unknown, `{"limit": 1001}`, `{"from": "noon"}`}},
		"compact":     {"engram.compact.notes", `{"deadline_ms": 5000}`, []string{unknown, `{"erase": "yes"}`}},
		"prove":       {"engram.prove.notes", `{"ids": ["b"], "look_only": true}`, []string{unknown, `{"ids": ["b"], "traces": [1]}`}},
		"spaces":      {"engram.spaces", `{"space": "notes"}`, []string{unknown, `{"space": 3}`}},
	}
}

// The services of a node, asked over NATS, say of each endpoint what goes in and out: by these schemas a body is right where the
// endpoint takes it and wrong where it refuses it, and so is every answer and every example of docs/wire.md.
func TestEndpointsSayTheirSchemas(t *testing.T) {
	nc := connected(t)
	cases, examples := endpointCases(), wireExamples(t)
	said := map[string]micro.EndpointInfo{}
	for _, service := range []string{"engram-gateway", "engram-recall"} {
		m := ask(t, nc, "$SRV.INFO."+service, "")
		if len(m.Data) > mostInfo || len(m.Data) < 10<<10 {
			t.Errorf("the INFO of %s has %d bytes; want up to %d, and not next to none", service, len(m.Data), mostInfo)
		}
		for _, verb := range []string{"PING", "STATS"} {
			if other := ask(t, nc, "$SRV."+verb+"."+service, ""); len(other.Data) > 4<<10 || strings.Contains(string(other.Data), openapi.RequestSchema) {
				t.Errorf("%s of %s has %d bytes: %.300s", verb, service, len(other.Data), other.Data)
			}
		}
		var info micro.Info
		if err := json.Unmarshal(m.Data, &info); err != nil {
			t.Fatal(err)
		}
		for _, e := range info.Endpoints {
			said[e.Name] = e
			if _, ok := cases[e.Name]; !ok {
				t.Errorf("%s has the endpoint %s, of which this test knows nothing", service, e.Name)
			}
		}
	}
	// Those that change what others read come first.
	for _, name := range []string{"define", "observe", "forget", "recall", "recall-many", "get", "list", "compact", "prove", "spaces"} {
		e, tc := said[name], cases[name]
		for _, key := range []string{openapi.RequestMessage, openapi.ResponseMessage} {
			if _, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(e.Metadata[key])); err != nil {
				t.Errorf("%s: its %s is %q: %v", name, key, e.Metadata[key], err)
			}
		}
		request, response := compiled(t, e.Metadata[openapi.RequestSchema]), compiled(t, e.Metadata[openapi.ResponseSchema])
		if err := request.Validate(value(t, []byte(tc.good))); err != nil {
			t.Errorf("%s: the schema refuses %s: %v", name, tc.good, err)
		}
		m := ask(t, nc, tc.subject, tc.good)
		if m.Header.Get(micro.ErrorCodeHeader) != "" {
			t.Errorf("%s: %s was answered with %s", name, tc.good, m.Data)
		} else if err := response.Validate(value(t, m.Data)); err != nil {
			t.Errorf("%s: the schema of the answer refuses %s: %v", name, m.Data, err)
		}
		if response.Validate(value(t, []byte(`{"error": "none"}`))) == nil {
			t.Errorf("%s: the schema of the answer takes anything", name)
		}
		for _, wrong := range tc.wrong {
			if request.Validate(value(t, []byte(wrong))) == nil {
				t.Errorf("%s: the schema takes %s", name, wrong)
			}
			if m := ask(t, nc, tc.subject, wrong); m.Header.Get(micro.ErrorCodeHeader) != "400" {
				t.Errorf("%s: %s was answered with %s", name, wrong, m.Data)
			}
		}
		kind := strings.TrimSuffix(name, "-many")
		if len(examples[kind]) == 0 || len(examples[kind+"-answer"]) == 0 {
			t.Errorf("docs/wire.md has no example of %s", kind)
		}
		for schema, all := range map[*jsonschema.Schema][]string{request: examples[kind], response: examples[kind+"-answer"]} {
			for _, text := range all {
				if err := schema.Validate(value(t, []byte(text))); err != nil {
					t.Errorf("%s: the schema refuses an example of docs/wire.md: %v\n%s", name, err, text)
				}
			}
		}
	}
}

// What there is no shape of is said, and by which name.
func TestExchangeThatCannotBe(t *testing.T) {
	for _, e := range []openapi.Exchange{{Request: "Nothing", Answer: "Space"}, {Request: "Recall", Answer: "Nothing"}, {Request: "Recall", Answer: "Space", OrAnswer: "Nothing"}} {
		if _, err := e.Metadata(); err == nil || !strings.Contains(err.Error(), `no shape "Nothing"`) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

// connected starts a node and returns a connection to its NATS server.
func connected(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := startNode(t).Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn.NC
}

// ask sends a body in JSON and returns the answer, be it an error or not.
func ask(t *testing.T, nc *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{"Content-Type": {wire.TypeJSON}}}, 20*time.Second)
	if err != nil {
		t.Fatalf("%s %s: %v", subject, body, err)
	}
	return m
}

// compiled reads a schema that has all that it refers to.
func compiled(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("http://engram.test/endpoint.json", value(t, []byte(text))); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("http://engram.test/endpoint.json")
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

// wireExamples returns the examples in JSON of docs/wire.md, by what they are of.
func wireExamples(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, m := range regexp.MustCompile("(?ms)^```json ([a-z-]+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = append(all[m[1]], m[2])
	}
	return all
}
