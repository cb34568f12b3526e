package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
)

// Format is how a body is encoded.
type Format uint8

// The formats.
const (
	Protobuf Format = iota
	JSON
)

// The content types of the formats.
const (
	TypeProtobuf = "application/protobuf"
	TypeJSON     = "application/json"
	TypeNDJSON   = "application/x-ndjson"
)

// ContentType returns the content type that a format is sent with.
func (f Format) ContentType() string {
	if f == JSON {
		return TypeJSON
	}
	return TypeProtobuf
}

// FormatOf tells the format of a body from its content type, and where that is empty from its first byte: no message of
// the contract begins with the bytes '{' and '[', which would be groups in protobuf. White space before them is not
// skipped: a newline is also the tag of field 1, and '{' the length 123 of what follows it.
func FormatOf(contentType string, body []byte) (Format, *Error) {
	if contentType == "" {
		if len(body) > 0 && (body[0] == '{' || body[0] == '[') {
			return JSON, nil
		}
		return Protobuf, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
	case media == TypeJSON:
		return JSON, nil
	case media == TypeProtobuf, media == "application/x-protobuf":
		return Protobuf, nil
	}
	return JSON, Errorf(CodeMalformed, "Content-Type", "the content type %q is not known; send %s or %s",
		contentType, TypeJSON, TypeProtobuf)
}

// strictJSON reads one JSON value into v and refuses unknown fields, trailing data, and what is not UTF-8, which the
// decoder would replace without a word.
func strictJSON(body []byte, v any) *Error {
	if !utf8.Valid(body) {
		return Errorf(CodeMalformed, "", "the body is not UTF-8")
	}
	if err := CheckObjects(body); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Errorf(CodeMalformed, "", "the body goes on after its JSON value")
	}
	return nil
}

func jsonError(err error) *Error {
	var field *fieldError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &field):
		return field.err
	case errors.As(err, &wrong):
		// The decoder puts the Go name of an embedded struct into the path.
		name := strings.TrimPrefix(wrong.Field, "observationJSON.")
		if name == "" {
			return Errorf(CodeMalformed, "", "the body is not the JSON of this request: it is a JSON %s", wrong.Value)
		}
		return Errorf(CodeMalformed, name, "%s is not what this field holds: it is a JSON %s", name, wrong.Value)
	}
	// The decoder has no type for this error, which is its answer to a misspelt field.
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if name, err := strconv.Unquote(quoted); err == nil {
			return Errorf(CodeMalformed, name, "this request has no field %q", name)
		}
	}
	return Errorf(CodeMalformed, "", "the body is not the JSON of this request: %v", err)
}

// unmarshal reads protobuf. Unknown fields are dropped: they are under no limit, and would be kept in the log.
func unmarshal(body []byte, m proto.Message) *Error {
	if err := CheckCount(body, m); err != nil {
		return err
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, m); err != nil {
		return Errorf(CodeMalformed, "", "the body is not the protobuf of %s; where it is JSON, say so in the header Content-Type",
			m.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

// marshal writes protobuf; the messages of the contract cannot fail to encode but for text that is not UTF-8.
func marshal(m proto.Message) ([]byte, *Error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, Errorf(CodeInternal, "", "encoding the answer: %v", err)
	}
	return b, nil
}
