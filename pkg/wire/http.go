package wire

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
)

// WriteError answers an HTTP request with a refusal.
func WriteError(w http.ResponseWriter, f Format, e *Error) {
	w.Header().Set("Content-Type", f.ContentType())
	if e.RetryAfter > 0 {
		// Whole seconds are all that the header holds; retry_after_ms in the body is exact.
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	w.WriteHeader(e.Status())
	_, _ = w.Write(EncodeError(f, e)) // a client that is gone does not need it
}

// ErrorObject returns the JSON object that stands under "error".
func ErrorObject(e *Error) json.RawMessage {
	b, err := toJSON(e.body())
	if err != nil {
		return nil
	}
	return b
}
