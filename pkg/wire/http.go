package wire

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// OnlyQuery refuses requests whose query has parameters other than these, has one of them twice (but for "include", which
// is a list), or cannot be read: a misspelt limit must not look like one that was obeyed.
func OnlyQuery(h http.HandlerFunc, allowed ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := checkQuery(r.URL.RawQuery, allowed); err != nil {
			f, unknown := FormatOf(r.Header.Get("Content-Type"), []byte("{"))
			if unknown != nil {
				f = JSON
			}
			WriteError(w, f, err)
			return
		}
		h(w, r)
	}
}

func checkQuery(raw string, allowed []string) *Error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return Errorf(CodeMalformed, "", "the query of the address cannot be read: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case len(allowed) == 0:
			return Errorf(CodeMalformed, name, "there is no query parameter %q; this path and method take none", name)
		case !slices.Contains(allowed, name):
			return Errorf(CodeMalformed, name, "there is no query parameter %q; there are %s", name, strings.Join(allowed, ", "))
		case len(query[name]) > 1 && name != "include":
			return Errorf(CodeMalformed, name, "the query parameter %q is there %d times", name, len(query[name]))
		}
	}
	return nil
}

// ErrorObject returns the JSON object that stands under "error".
func ErrorObject(e *Error) json.RawMessage {
	b, err := toJSON(e.body())
	if err != nil {
		return nil
	}
	return b
}
