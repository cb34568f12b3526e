package recall_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
)

// Who has a position of a space knows that it is there; that a recall API has not heard of it yet is no reason to deny it.
func TestRecallAtLeastOfASpaceThatIsNew(t *testing.T) {
	conn := connect(t)
	c := client.New(conn.NC)
	space := unique("news")
	known := remember(t, conn, unique("other"), &api.Observation{Id: "a", Embedding: f32(1, 0)})[0]
	p, err := event.ParsePosition(known)
	if err != nil {
		t.Fatal(err)
	}
	p.Shard, p.Sequence = event.ShardOf(space, shards), 1
	found := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		close(began)
		_, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(1), AtLeast: p.String()})
		found <- err
	}()
	<-began
	// Answered by the same recall API, behind the recall.
	if _, err := c.Spaces(t.Context(), space); err == nil {
		t.Fatal("the space is there before it was made")
	}
	remember(t, conn, space, &api.Observation{Id: "a", Embedding: f32(1, 0)})
	if err := <-found; err != nil {
		t.Error(err)
	}
	_, err = c.Recall(t.Context(), unique("nowhere"), &api.RecallRequest{Embedding: f32(1, 0), AtLeast: p.String()})
	if err == nil || !strings.Contains(err.Error(), "there is no space") {
		t.Errorf("a space that never comes: %v", err)
	}
}
