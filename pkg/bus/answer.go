package bus

import (
	"strconv"

	"github.com/nats-io/nats.go/micro"
)

// Answer replies to a request, from any goroutine; one without a reply subject gets nothing. A reply that cannot be sent
// is one that the client does not get: it will ask again.
func Answer(req micro.Request, contentType string, body []byte) {
	if req.Reply() != "" {
		_ = req.Respond(body, micro.WithHeaders(micro.Headers{HeaderContentType: {contentType}}))
	}
}

// Refuse replies with a service error as the micro convention has it, code and description in the headers. It does not
// use micro.Request.Error, which may only be called before the endpoint's handler has returned.
func Refuse(req micro.Request, contentType string, status int, description string, body []byte) {
	if req.Reply() != "" {
		_ = req.Respond(body, micro.WithHeaders(micro.Headers{
			micro.ErrorHeader: {description}, micro.ErrorCodeHeader: {strconv.Itoa(status)}, HeaderContentType: {contentType},
		}))
	}
}
