package bus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
)

// IsInbox tells whether a reply subject is in an inbox: _INBOX.<…>, or _INBOX_<who>.<…> where a user has its own. An answer
// goes nowhere else. The server does not ask whether a client may publish to the reply subject that it names, and lets the one
// who is asked answer there: without this rule, who may ask anything could have its answer published as a request, or into a log.
func IsInbox(reply string) bool {
	// Between clusters a server puts _GR_.<cluster>.<server>. before it, which it does not take from a client.
	if routed, ok := strings.CutPrefix(reply, "_GR_."); ok {
		parts := strings.SplitN(routed, ".", 3)
		reply = parts[len(parts)-1]
	}
	rest, ok := strings.CutPrefix(reply, inboxRoot)
	return ok && len(rest) > 1 && (rest[0] == '.' || rest[0] == '_')
}

// inboxRoot begins every inbox.
const inboxRoot = "_INBOX"

// Guard returns a handler that drops the requests whose reply subject is no inbox, before anything is done for them. One
// without a reply subject is not dropped: nobody hears what becomes of it.
func Guard(log zerolog.Logger, h micro.HandlerFunc) micro.HandlerFunc {
	return func(req micro.Request) {
		if reply := req.Reply(); reply != "" && !IsInbox(reply) {
			log.Debug().Str("subject", req.Subject()).Str("reply", reply).Msg("dropped a request whose reply subject is no inbox")
			return
		}
		h(req)
	}
}

// Answer replies to a request, from any goroutine; one without an inbox gets nothing. A reply that cannot be sent is one that
// the client does not get: it will ask again.
func Answer(req micro.Request, contentType string, body []byte) {
	if IsInbox(req.Reply()) {
		_ = req.Respond(body, micro.WithHeaders(micro.Headers{HeaderContentType: {contentType}}))
	}
}

// Refuse replies with a service error as the micro convention has it, code and description in the headers. It does not
// use micro.Request.Error, which may only be called before the endpoint's handler has returned.
func Refuse(req micro.Request, contentType string, status int, description string, body []byte) {
	if IsInbox(req.Reply()) {
		_ = req.Respond(body, micro.WithHeaders(micro.Headers{
			micro.ErrorHeader: {description}, micro.ErrorCodeHeader: {strconv.Itoa(status)}, HeaderContentType: {contentType},
		}))
	}
}
