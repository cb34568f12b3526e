//go:build compose

package compose

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// One container of each kind after the other is stopped, ends cleanly within its time, and comes back; what was observed before it, and while
// it was away, is found.
func TestRollingRestart(t *testing.T) {
	d := healthy(t)
	token, space := token(t), newSpace()
	observed, last := 0, ""
	observe := func(gateway string) {
		t.Helper()
		var done answer
		body := fmt.Sprintf(`{"observations": [{"id": "o%d", "text": "the guard makes round %d"}], "acknowledgement": "searchable"}`, observed, observed)
		ask(t, token, http.MethodPost, d.spaceURL(t, gateway, space)+"/observations", body, &done)
		if len(done.Results) != 1 {
			t.Fatalf("%s answers %+v", gateway, done)
		}
		observed++
		last = done.Results[0].Position
	}
	for _, service := range []string{"nats-2", "worker-2", "gateway-2", "recall-api-1"} {
		observe("gateway-2")
		began := time.Now()
		compose(t, "stop", service)
		stopped := time.Since(began)
		// 137 would be a kill, at the end of stop_grace_period.
		if c := containers(t)[service]; c.State.Status != "exited" || c.State.ExitCode != 0 {
			t.Errorf("%s is %s with exit code %d after it was stopped", service, c.State.Status, c.State.ExitCode)
		}
		observe("gateway-1")
		compose(t, "start", service)
		d = healthy(t) // with other ports, where Docker chooses them
		t.Logf("%s stopped within %v, and was back after %v", service, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	for _, recall := range services()["recall-api"] {
		var got answer
		ask(t, token, http.MethodPost, d.spaceURL(t, recall, space)+"/recall", `{"text": "round of the guard", "k": 100, "at_least": "`+last+`"}`, &got)
		if len(got.Hits) != observed {
			t.Errorf("%s finds %d of %d", recall, len(got.Hits), observed)
		}
	}
}
