package wire

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// ReadBody reads the body of an HTTP request of at most so many bytes, before it is unpacked and after. It may be packed
// with gzip.
func ReadBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *Error) {
	packed := http.MaxBytesReader(w, r.Body, most)
	encoding := r.Header.Get("Content-Encoding")
	if encoding == "" || strings.EqualFold(encoding, "identity") {
		body, err := io.ReadAll(packed)
		return body, bodyError(err, most)
	}
	if !strings.EqualFold(encoding, "gzip") {
		return nil, Errorf(CodeUnsupported, "", "the body is packed with %q; it can be with gzip", encoding)
	}
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return nil, bodyError(err, most)
	}
	body, err := io.ReadAll(io.LimitReader(unpacked, most+1))
	if err == nil && int64(len(body)) > most {
		return nil, tooLarge(most)
	}
	return body, bodyError(err, most)
}

func bodyError(err error, most int64) *Error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return tooLarge(most)
	}
	return Errorf(CodeMalformed, "", "the body could not be read: %v", err)
}

func tooLarge(most int64) *Error {
	return Errorf(CodeTooLarge, "", "the body has more than %d bytes; send less at once", most)
}
