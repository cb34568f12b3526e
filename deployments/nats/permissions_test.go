// Package nats_test runs Engram on a real nats-server with the configuration that lies beside it.
package nats_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/wire"
)

func do(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// Everything that the contract has works for those who may, and the daemons never meet a denial of their own.
func TestWhatIsAllowed(t *testing.T) {
	d := deploy(t)
	addr := d.daemons(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	producer, service, admin := client.New(d.connect("producer").NC), client.New(d.connect("service").NC), client.New(d.connect("admin").NC)

	observe := &api.ObserveRequest{
		Observations:    []*api.Observation{{Id: "a", Text: "the disk is full"}, {Id: "b", Text: "the cache is cold"}},
		Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE, IdempotencyKey: "k",
	}
	for range 2 { // the second one is a duplicate, which the gateway has to ask the log for
		resp, err := producer.Observe(ctx, "notes", observe)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetResults() {
			if r.GetError() != nil || !r.GetSearchable() {
				t.Fatalf("observing: %v", r)
			}
		}
	}
	recalled, err := service.Recall(ctx, "notes", &api.RecallRequest{Text: "full disk"})
	if err != nil || len(recalled.GetHits()) != 2 || recalled.GetHits()[0].GetId() != "a" {
		t.Fatalf("recall: %v, %v", recalled, err)
	}
	if got, err := service.Get(ctx, "notes", &api.GetRequest{Ids: []string{"a"}}); err != nil || len(got.GetObservations()) != 1 {
		t.Errorf("get: %v, %v", got, err)
	}
	if got, err := service.List(ctx, "notes", &api.ListRequest{}); err != nil || len(got.GetObservations()) != 2 {
		t.Errorf("list: %v, %v", got, err)
	}

	// An operator does the rest.
	dim := uint32(3)
	if got, err := admin.Define(ctx, "points", &api.DefineRequest{Dimension: &dim}); err != nil || !got.GetCreated() {
		t.Errorf("define: %v, %v", got, err)
	}
	if got, err := admin.Spaces(ctx, ""); err != nil || len(got.GetSpaces()) != 2 || got.GetSpaces()[0].GetObservations() != 2 {
		t.Errorf("spaces: %v, %v", got, err)
	}
	if got, err := admin.Compact(ctx, "notes", &api.CompactRequest{}); err != nil || len(got.GetCopies()) != 1 || got.GetCopies()[0].GetError() != nil {
		t.Errorf("compact: %v, %v", got, err)
	}
	if got, err := admin.Forget(ctx, "notes", &api.ForgetRequest{Ids: []string{"b"}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}); err != nil || !got.GetSearchable() {
		t.Errorf("forget: %v, %v", got, err)
	}
	d.snapshots(t)
	proof, err := admin.Prove(ctx, "notes", &api.ProveRequest{Ids: []string{"b"}, LookOnly: true})
	if err != nil || proof.GetProven() || len(proof.GetLooked()) != 7 {
		t.Errorf("prove: %v, %v", proof, err)
	}
	for _, l := range proof.GetLooked() {
		if l.GetError() != nil {
			t.Errorf("prove: %v", l)
		}
	}
	if got, err := admin.RecallMany(ctx, &api.RecallRequest{Text: "text", Prefix: "note"}); err != nil || len(got.GetSpaces()) != 1 || got.GetSpaces()[0].GetError() != nil {
		t.Errorf("recall from several spaces: %v, %v", got, err)
	}

	// What goes over HTTP goes over NATS behind it.
	for _, r := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "/v1/spaces/notes/observations", `{"id": "c", "text": "over HTTP", "acknowledgement": "searchable"}`, 200},
		{http.MethodPost, "/v1/spaces/notes/recall", `{"text": "HTTP"}`, 200},
		{http.MethodGet, "/v1/spaces", "", 200}, {http.MethodGet, "/v1/spaces/notes/observations/c", "", 200},
		{http.MethodDelete, "/v1/spaces/notes/observations/c", "", 204}, {http.MethodGet, "/v1/spaces/notes/observations/c", "", 404},
		{http.MethodPost, "/v1/spaces/notes/compact", "", 200},
	} {
		if got := do(t, r.method, addr+r.path, r.body); got != r.want {
			t.Errorf("%s %s: %d, want %d", r.method, r.path, got, r.want)
		}
	}

	// So do the recalls of a stream, from one space and from several.
	socket, _, err := websocket.Dial(ctx, strings.Replace(addr, "http", "ws", 1)+"/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.CloseNow() }()
	for _, request := range []string{`{"space": "notes", "text": "disk"}`, `{"spaces": ["notes"], "text": "disk"}`, `{"prefix": "note", "text": "disk"}`} {
		if err := socket.Write(ctx, websocket.MessageText, []byte(`{"recall": {"tag": "r", "request": `+request+`}}`)); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := socket.Read(ctx); err != nil || !strings.Contains(string(answer), `"hits":[{"id":"a"`) {
			t.Errorf("the recall %s of a stream: %s, %v", request, answer, err)
		}
	}

	d.quotas(t, admin, producer)

	// Poison goes to the quarantine: who may write the log is the gateway alone.
	poison := d.connect("gateway")
	if _, err := poison.JS.Publish(ctx, bus.LogSubject(0, "notes"), []byte("\xff\xff")); err != nil {
		t.Fatal(err)
	}
	quarantine, err := poison.JS.Stream(ctx, bus.QuarantineStream)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := quarantine.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 1 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the poison is not in the quarantine")
		}
	}
	for _, u := range users {
		if denied := d.log.of(d.public[u]); len(denied) > 0 {
			t.Errorf("%s was denied: %q", u, denied)
		}
	}
}

// snapshots takes one, reads it, and trims the log below it.
func (d *deployment) snapshots(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	admin := d.connect("admin")
	topology, err := bus.ReadTopology(ctx, admin.JS)
	if err != nil {
		t.Fatal(err)
	}
	shard := event.ShardOf("notes", topology.Shards)
	take := func() {
		t.Helper()
		body, err := proto.Marshal(&api.SnapshotRequest{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		msg, err := admin.NC.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbSnapshot), body)
		if err != nil || msg.Header.Get("Nats-Service-Error") != "" {
			t.Fatalf("taking a snapshot: %v, %v", msg, err)
		}
	}
	take()
	take()
	store, err := snapshot.Open(ctx, snapshot.PlaceBucket, "admin", admin.JS)
	if err != nil {
		t.Fatal(err)
	}
	found, err := snapshot.List(ctx, store)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	m, err := snapshot.Load(ctx, store, found[0])
	if err == nil {
		_, err = snapshot.Verify(ctx, store, m, nil)
	}
	if err != nil {
		t.Error(err)
	}
	trimmer := snapshot.Trimmer{Store: store, Conn: admin.NC, JetStream: admin.JS, Epoch: topology.Epoch, Now: time.Now().Add(time.Hour)}
	if plan, err := trimmer.Trim(ctx, shard); err != nil || plan.Messages() == 0 {
		t.Errorf("trimming: %+v, %v", plan, err)
	}
	if err := snapshot.Discard(ctx, store, m, m.Segments[0].Chunks[0]); err != nil {
		t.Error(err)
	}
	take() // which mends it
}

// quotas has the gateway count what a space stores, and a producer hear that it is refused.
func (d *deployment) quotas(t *testing.T, admin, producer *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// The same observation takes no more room than it had, but the gateway knows that only from a worker.
	same := &api.ObserveRequest{Observations: []*api.Observation{{Id: "a", Text: "the disk is full"}}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	until := func(what string, done func(*wire.Error) bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			_, err := producer.Observe(ctx, "notes", same)
			var refused *wire.Error
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("%s: %v", what, err)
			}
			if done(refused) {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s: never, and then %v", what, err)
			}
		}
	}
	most, rate := uint64(3), .001
	if _, err := admin.Define(ctx, "notes", &api.DefineRequest{Quota: &api.Quota{StoredObservations: &most}}); err != nil {
		t.Fatal(err)
	}
	until("the space is taken for full", func(e *wire.Error) bool { return e != nil && e.Code == wire.CodeSpaceFull })
	until("a worker says that it is not", func(e *wire.Error) bool { return e == nil })

	nc := d.connect("producer").NC
	told, err := nc.SubscribeSync(bus.PressureSubject("notes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var none uint64
	if _, err := admin.Define(ctx, "notes", &api.DefineRequest{Quota: &api.Quota{StoredObservations: &none, ObservationsPerSecond: &rate}}); err != nil {
		t.Fatal(err)
	}
	until("the rate is used up", func(e *wire.Error) bool { return e != nil && e.Code == wire.CodeQuota })
	m, err := told.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatalf("a producer did not hear that its space is refused: %v", err)
	}
	pressure := new(api.Pressure)
	if err := proto.Unmarshal(m.Data, pressure); err != nil || pressure.GetReason() != string(wire.CodeQuota) || pressure.GetRetryAfterMs() == 0 {
		t.Errorf("told %v, %v", pressure, err)
	}
}

// What a producer and a service are not given is denied by the server, whatever a client tries.
func TestWhatIsDenied(t *testing.T) {
	d := deploy(t)
	d.daemons(t)
	admin := client.New(d.connect("admin").NC)
	for _, space := range []string{"notes", "other"} {
		if _, err := admin.Observe(t.Context(), space, &api.ObserveRequest{Observations: []*api.Observation{{Id: "a", Text: "text"}}}); err != nil {
			t.Fatal(err)
		}
	}
	internal := []string{
		"engram.log.0.notes", "engram.log.1.notes", "engram.shard.0.recall", "engram.shard.1.compact", "engram.heartbeat.worker-1", "engram.quarantine.0",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.ENGRAM_LOG_0", "$JS.API.STREAM.DELETE.ENGRAM_LOG_0", "$JS.API.STREAM.PURGE.ENGRAM_LOG_0",
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.MSG.GET.ENGRAM_LOG_0", "$JS.API.DIRECT.GET.KV_ENGRAM_SPACES.$KV.ENGRAM_SPACES.notes",
		"$JS.API.CONSUMER.CREATE.ENGRAM_LOG_0.mine", "$JS.API.CONSUMER.MSG.NEXT.ENGRAM_LOG_0.worker_0", "$JS.ACK.ENGRAM_LOG_0.worker_0.1.1.1.1.0",
		"$KV.ENGRAM_SPACES.notes", "$KV.ENGRAM_META.cluster", "$SRV.PING", "$SYS.REQ.SERVER.PING",
		"engram.shard.0.spaces", "engram.pressure.notes", "engram.recall", "engram.observe.other", "engram.forget.other", "engram.recall.other", "engram.get.other", "engram.list.other", "engram.define.notes",
		"engram.compact.notes", "engram.prove.notes", "engram.spaces", "engram.forget.notes", "_INBOX.x", "_INBOX_admin.x", "_INBOX_gateway.x",
	}
	ears := []string{
		">", "engram.>", "engram.log.>", "engram.shard.>", "engram.heartbeat.*", "engram.observe.notes", "engram.recall.notes", "$JS.>", "$KV.>", "$SRV.>",
		"_INBOX.>", "_INBOX_admin.>", "_INBOX_gateway.>", "*.>", "$JS.ACK.>", "engram.pressure.*", "engram.pressure.other",
	}
	for user, more := range map[string]struct{ publish, subscribe []string }{
		"producer": {[]string{"engram.recall.notes", "engram.get.notes", "engram.list.notes", "_INBOX_service.x"}, []string{"_INBOX_service.>"}},
		"service":  {[]string{"engram.observe.notes", "_INBOX_producer.x"}, []string{"_INBOX_producer.>", "engram.pressure.notes"}},
	} {
		t.Run(user, func(t *testing.T) {
			for _, subject := range append(internal, more.publish...) {
				if !d.refused(t, user, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("x")) }) {
					t.Errorf("publishing to %s was not denied", subject)
				}
			}
			for _, subject := range append(ears, more.subscribe...) {
				if !d.refused(t, user, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }) {
					t.Errorf("subscribing to %s was not denied", subject)
				}
				// In the queue group of a service, requests would be stolen.
				if !d.refused(t, user, func(nc *nats.Conn) error { _, err := nc.QueueSubscribeSync(subject, "engram-gateway"); return err }) {
					t.Errorf("subscribing to %s in a queue group was not denied", subject)
				}
			}
		})
	}
	// The server says of each in its log whom it refused what: the other test goes by that.
	for _, user := range []string{"producer", "service"} {
		if len(d.log.of(d.public[user])) < len(internal)+len(ears) {
			t.Errorf("the server's log has %d refusals of %s", len(d.log.of(d.public[user])), user)
		}
	}
	// The client says so, too.
	producer := client.New(d.connect("producer").NC)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := producer.Recall(ctx, "notes", &api.RecallRequest{Text: "x"}); err == nil {
		t.Error("a producer recalled")
	}
	// A body cannot name another space than its subject.
	var e *wire.Error
	req := &api.ObserveRequest{Observations: []*api.Observation{{Id: "b", Space: "other", Text: "x"}}}
	if _, err := producer.Observe(t.Context(), "notes", req); !errors.As(err, &e) || e.Code != wire.CodeInvalidSpace {
		t.Errorf("observing into another space by its name in the body: %v", err)
	}
	service := client.New(d.connect("service").NC)
	if _, err := service.Recall(t.Context(), "notes", &api.RecallRequest{Text: "x", Space: "other"}); !errors.As(err, &e) || e.Code != wire.CodeInvalidSpace {
		t.Errorf("recalling another space by its name in the body: %v", err)
	}
	if _, err := service.Get(t.Context(), "notes", &api.GetRequest{Ids: []string{"a"}, Space: "other"}); !errors.As(err, &e) || e.Code != wire.CodeInvalidSpace {
		t.Errorf("getting from another space by its name in the body: %v", err)
	}
	if _, err := service.List(t.Context(), "notes", &api.ListRequest{Space: "other"}); !errors.As(err, &e) || e.Code != wire.CodeInvalidSpace {
		t.Errorf("listing another space by its name in the body: %v", err)
	}
	t.Run("reply subjects", func(t *testing.T) { d.replies(t, admin) })
	// Nothing of all that has reached the store.
	if got, err := admin.List(t.Context(), "other", &api.ListRequest{}); err != nil || len(got.GetObservations()) != 1 {
		t.Errorf("the other space has %v, %v", got, err)
	}
}

// The server does not ask whether a client may publish to the reply subject that it names, and lets a daemon answer there. No
// daemon does: what would be published would be a request, or an entry of a log, in a daemon's name.
func (d *deployment) replies(t *testing.T, admin *client.Client) {
	ctx := t.Context()
	get := &api.GetRequest{Ids: []string{"a"}, Include: []string{"metadata"}}
	position := func(space string) string {
		t.Helper()
		got, err := admin.Get(ctx, space, get)
		if err != nil || len(got.GetObservations()) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		return got.GetObservations()[0].GetPosition()
	}
	gateway := d.connect("gateway")
	ended := func() (last [shards]uint64) {
		t.Helper()
		for shard := range last {
			s, err := gateway.JS.Stream(ctx, bus.LogStream(shard))
			if err != nil {
				t.Fatal(err)
			}
			last[shard] = s.CachedInfo().State.LastSeq
		}
		return last
	}
	before := map[string]string{}
	for _, space := range []string{"notes", "other"} {
		// Searchable, so that there is an answer that could go elsewhere: one of a get can be read as an observe.
		if _, err := admin.Observe(ctx, space, &api.ObserveRequest{
			Observations: []*api.Observation{{Id: "a", Text: "text"}}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
		}); err != nil {
			t.Fatal(err)
		}
		before[space] = position(space)
	}
	was := ended()
	heard := make(chan *nats.Msg, 100)
	for _, subject := range []string{bus.ObserveSubject(bus.Any), bus.ForgetSubject(bus.Any), bus.DefineSubject(bus.Any)} {
		sub, err := gateway.NC.ChanSubscribe(subject, heard)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := sub.Unsubscribe(); err != nil {
				t.Error(err)
			}
		}()
	}
	if err := gateway.NC.Flush(); err != nil {
		t.Fatal(err)
	}

	body, err := proto.Marshal(get)
	if err != nil {
		t.Fatal(err)
	}
	write, err := proto.Marshal(&api.ObserveRequest{Observations: []*api.Observation{{Id: "b", Text: "text"}}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := []string{
		bus.ObserveSubject("other"), bus.ForgetSubject("other"), bus.DefineSubject("other"), bus.LogSubject(0, "other"), bus.LogSubject(1, "other"), "$KV.ENGRAM_META.cluster",
		"$KV.ENGRAM_SPACES.other", "$JS.API.STREAM.PURGE.ENGRAM_LOG_0", "engram.shard.0.compact", "engram.heartbeat.worker-1", "nobody",
	}
	for _, reply := range elsewhere {
		for user, request := range map[string]*nats.Msg{
			"service":  {Subject: bus.GetSubject("notes"), Data: body},
			"producer": {Subject: bus.ObserveSubject("notes"), Data: write},
		} {
			request.Reply, request.Header = reply, nats.Header{bus.HeaderContentType: {wire.TypeProtobuf}}
			c := d.connect(user)
			if err := c.NC.PublishMsg(request); err != nil {
				t.Fatal(err)
			}
			if err := c.NC.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := c.NC.LastError(); err != nil {
				t.Fatalf("%s could not ask: %v", user, err)
			}
		}
	}
	// Time enough for an answer, and for what would become of it.
	quiet := time.After(time.Second)
	for waiting := true; waiting; {
		select {
		case m := <-heard:
			if m.Subject != bus.ObserveSubject("notes") { // the producers' own
				t.Errorf("an answer went to %s", m.Subject)
			}
		case <-quiet:
			waiting = false
		}
	}
	for space, at := range before {
		if now := position(space); now != at {
			t.Errorf("the observation of %s stood at %s and stands at %s", space, at, now)
		}
	}
	if now := ended(); now != was {
		t.Errorf("the logs ended at %d, and end at %d", was, now)
	}
	for _, user := range []string{"gateway", "worker", "recall"} {
		if denied := d.log.of(d.public[user]); len(denied) > 0 {
			t.Errorf("%s tried to answer: %q", user, denied)
		}
	}
}

// refused tells that the server answered with a permissions violation. Each try has a connection of its own.
func (d *deployment) refused(t *testing.T, user string, try func(*nats.Conn) error) bool {
	t.Helper()
	c, err := bus.Connect(d.config(user))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := try(c.NC); err != nil {
		t.Fatal(err)
	}
	// The refusal comes before the answer to the flush.
	if err := c.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	return errors.Is(c.NC.LastError(), nats.ErrPermissionViolation)
}

// Who has no key, or the wrong one, or does not know the certificate, does not get in.
func TestWhoIsNobody(t *testing.T) {
	d := deploy(t)
	for name, cfg := range map[string]bus.Config{
		"no login":    {URL: d.url, TLS: bus.TLSConfig{CA: d.ca}},
		"no TLS":      {URL: strings.Replace(d.url, "tls://", "nats://", 1), NKey: d.seeds["producer"]},
		"wrong login": {URL: strings.Replace(d.url, "tls://", "tls://gateway:secret@", 1), TLS: bus.TLSConfig{CA: d.ca}},
	} {
		cfg.FailFast = true
		if c, err := bus.Connect(cfg); err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
		}
	}
}
