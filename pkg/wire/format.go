package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"

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
// the contract begins with the bytes '{' and '[', which would be groups in protobuf.
func FormatOf(contentType string, body []byte) (Format, *Error) {
	if contentType == "" {
		if b := bytes.TrimLeft(body, " \t\r\n"); len(b) > 0 && (b[0] == '{' || b[0] == '[') {
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

// strictJSON reads one JSON value into v and refuses unknown fields and trailing data.
func strictJSON(body []byte, v any) *Error {
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
	if e, ok := err.(*json.UnmarshalTypeError); ok {
		return Errorf(CodeMalformed, e.Field, "%s is not what this field holds: it is a JSON %s", e.Field, e.Value)
	}
	if asField(err, &field) {
		return field.err
	}
	return Errorf(CodeMalformed, "", "the body is not the JSON of this request: %v", err)
}

// unmarshal reads protobuf.
func unmarshal(body []byte, m proto.Message) *Error {
	if err := proto.Unmarshal(body, m); err != nil {
		return Errorf(CodeMalformed, "", "the body is not the protobuf of an %s", m.ProtoReflect().Descriptor().FullName())
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
