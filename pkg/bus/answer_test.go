package bus

import (
	"testing"

	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
)

func TestIsInbox(t *testing.T) {
	for reply, want := range map[string]bool{
		"_INBOX.abc.1": true, "_INBOX_gateway.abc.1": true, "_INBOX_.x": true, "_GR_.aaaaaa.bbbbbb._INBOX.abc": true, "_GR_.aaaaaa.bbbbbb._INBOX_me.abc": true,

		"_INBOX": false, "_INBOX.": false, "_INBOXES.x": false, "_inbox.x": false, "x._INBOX.x": false, "nobody": false,
		"engram.observe.notes": false, "engram.log.0.notes": false, "engram.forget.notes": false, "$KV.ENGRAM_META.cluster": false,
		"$JS.API.STREAM.DELETE.ENGRAM_LOG_0": false, "_GR_.aaaaaa.bbbbbb.engram.observe.notes": false, "_GR_.x": false, "_GR_.": false,
		"_GR_._INBOX.x.engram.observe.notes": false, "": false,
	} {
		if got := IsInbox(reply); got != want {
			t.Errorf("IsInbox(%q) = %v", reply, got)
		}
	}
}

// A prefix under which answers would be dropped is refused before anything is asked.
func TestInboxPrefix(t *testing.T) {
	for prefix, want := range map[string]bool{
		"_INBOX": true, "_INBOX_me": true, "_INBOX.me": true, "_INBOX_me.too": true,
		"_IN": false, "engram.observe": false, "_INBOXES": false, "_INBOX_*": false, "_INBOX_me.": false,
	} {
		if err := checkInbox(prefix); (err == nil) != want {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// asked is a request with a reply subject, which counts its answers.
type asked struct {
	micro.Request
	reply    string
	answered int
}

func (a *asked) Subject() string                           { return "engram.get.notes" }
func (a *asked) Reply() string                             { return a.reply }
func (a *asked) Respond([]byte, ...micro.RespondOpt) error { a.answered++; return nil }

func TestGuard(t *testing.T) {
	for reply, want := range map[string]bool{"": true, "_INBOX.a": true, "engram.observe.notes": false} {
		handled := false
		req := &asked{reply: reply}
		Guard(zerolog.Nop(), func(micro.Request) { handled = true })(req)
		if handled != want {
			t.Errorf("a request with the reply subject %q was handled: %v", reply, handled)
		}
		Answer(req, ContentJSON, nil)
		Refuse(req, ContentJSON, 400, "no", nil)
		if answers := map[bool]int{true: 2}[IsInbox(reply)]; req.answered != answers {
			t.Errorf("a request with the reply subject %q was answered %d times", reply, req.answered)
		}
	}
}
