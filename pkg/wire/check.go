package wire

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vector"
)

// atObservation names the observation that an error is about, where there are several.
func atObservation(err *Error, i, of int) *Error {
	if of == 1 {
		return err
	}
	return err.At(fmt.Sprintf("observations[%d]", i))
}

// UnknownSpace is the refusal of what is asked of a space that is not there, whatever it was.
func UnknownSpace(space string) *Error {
	return Errorf(CodeUnknownSpace, "space", "there is no space %q; GET /v1/spaces and \"engram status\" list the ones there are", space)
}

// NoEmbedder is the refusal of text alone for a space whose embedder this process does not have.
func NoEmbedder(space, embedder string) *Error {
	if embedder == "none" {
		return Errorf(CodeInvalidEmbedding, "text", "space %q has no embedder, since it was made for embeddings of one's own; send an embedding", space)
	}
	return Errorf(CodeInvalidEmbedding, "text", "space %q has the embedder %q, which this process does not have; configure it here, or send an embedding", space, embedder)
}

// CheckSpace returns the refusal of an illegal name.
func CheckSpace(name string) *Error {
	if err := event.ValidateSpace(name); err != nil {
		return Errorf(CodeInvalidSpace, "space", "%v", err)
	}
	return nil
}

// CheckAck refuses an acknowledgement level that is none.
func CheckAck(a api.Acknowledgement) *Error {
	if a < 0 || a > api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE {
		return Errorf(CodeInvalidArgument, "acknowledgement", "acknowledgement is %d, which is neither accepted nor searchable", a)
	}
	return nil
}

// CheckID refuses an id that no observation can have.
func CheckID(id, field string) *Error {
	switch {
	case id == "":
		return Errorf(CodeInvalidID, field, "the id is empty")
	case len(id) > event.MaxID:
		return Errorf(CodeInvalidID, field, "the id has %d bytes; it can have up to %d", len(id), event.MaxID)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return Errorf(CodeInvalidID, field, "the id is not UTF-8 without NUL")
	}
	return nil
}

// CheckIdempotencyKey refuses a key that cannot be a write id; empty is none.
func CheckIdempotencyKey(key string) *Error {
	if len(key) > event.MaxWriteID {
		return Errorf(CodeTooLarge, "idempotency_key", "idempotency_key has %d bytes; it can have up to %d", len(key), event.MaxWriteID)
	}
	if !plain(key) {
		return Errorf(CodeInvalidArgument, "idempotency_key", "idempotency_key has a control character, or a space at an end")
	}
	return nil
}

// plain tells that a text passes through a header of NATS as it is: there, control characters become spaces and those at
// the ends are cut off, so that two write ids could become one.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) == s
}

// CheckObservation refuses an observation that no space could hold. Its embedding is looked at by EmbeddingF32.
func CheckObservation(o *api.Observation) *Error {
	if o.GetId() != "" {
		if err := CheckID(o.GetId(), "id"); err != nil {
			return err
		}
	}
	switch {
	case len(o.GetText()) > event.MaxText:
		return Errorf(CodeTooLarge, "text", "text has %d bytes; it can have up to %d", len(o.GetText()), event.MaxText)
	case !(o.GetImportance() >= 0 && o.GetImportance() <= 1):
		return Errorf(CodeInvalidArgument, "importance", "importance is %v; it can be 0 to 1", o.GetImportance())
	case o.GetPriority() < 0 || o.GetPriority() > api.Priority_PRIORITY_HIGH:
		return Errorf(CodeInvalidArgument, "priority", "priority is %d, which is neither normal nor high", o.GetPriority())
	case o.GetExpiresAt() < 0:
		return Errorf(CodeInvalidArgument, "expires_at", "expires_at is before 1970")
	case len(o.GetSession()) > event.MaxSession:
		return Errorf(CodeInvalidArgument, "session", "session has %d bytes; it can have up to %d", len(o.GetSession()), event.MaxSession)
	case !plain(o.GetSession()):
		return Errorf(CodeInvalidArgument, "session", "session has a control character, or a space at an end")
	case o.GetSession() == "" && o.GetSequence() != 0, o.GetSession() != "" && o.GetSequence() == 0:
		return Errorf(CodeInvalidArgument, "sequence", "session and sequence come together, and sequence begins at 1")
	}
	return checkMetadata(o.GetMetadata())
}

func checkMetadata(m map[string]*api.Value) *Error {
	if len(m) > event.MaxMetadataKeys {
		return Errorf(CodeTooLarge, "metadata", "metadata has %d keys; it can have up to %d", len(m), event.MaxMetadataKeys)
	}
	size := 0
	for key, v := range m {
		size += len(key)
		switch k := v.GetKind().(type) {
		case *api.Value_String_:
			size += len(k.String_)
		case *api.Value_Number:
			if math.IsNaN(k.Number) || math.IsInf(k.Number, 0) {
				return Errorf(CodeInvalidArgument, "metadata", "metadata[%q] is %v, which is no finite number", key, k.Number)
			}
			size += 8
		case *api.Value_Bool:
			size++
		default:
			return Errorf(CodeInvalidArgument, "metadata", "metadata[%q] has no value", key)
		}
	}
	if size > event.MaxMetadata {
		return Errorf(CodeTooLarge, "metadata", "metadata has %d bytes; it can have up to %d", size, event.MaxMetadata)
	}
	return nil
}

// EmbeddingF32 returns an embedding as packed little-endian f32: its own bytes where that is what it holds. With
// nonzero a zero vector is refused, as NaN and infinities always are.
func EmbeddingF32(e *api.Embedding, nonzero bool) ([]byte, *Error) {
	data := e.GetData()
	switch e.GetEncoding() {
	case api.Encoding_ENCODING_UNSPECIFIED, api.Encoding_ENCODING_F32:
		if len(data)%4 != 0 {
			return nil, Errorf(CodeInvalidEmbedding, "embedding", "embedding has %d bytes, which is no whole number of f32", len(data))
		}
	case api.Encoding_ENCODING_F16:
		if len(data)%2 != 0 {
			return nil, Errorf(CodeInvalidEmbedding, "embedding", "embedding has %d bytes, which is no whole number of f16", len(data))
		}
		packed := make([]byte, 0, len(data)*2)
		for i := 0; i < len(data); i += 2 {
			packed = event.AppendF32(packed, []float32{vector.F16ToF32(uint16(data[i]) | uint16(data[i+1])<<8)})
		}
		data = packed
	case api.Encoding_ENCODING_I8:
		scale := e.GetScale()
		if !(scale > 0) || math.IsInf(float64(scale), 0) {
			return nil, Errorf(CodeInvalidEmbedding, "embedding.scale", "the scale of an i8 embedding is %v; it must be finite and above 0", scale)
		}
		packed := make([]byte, 0, len(data)*4)
		for _, b := range data {
			packed = event.AppendF32(packed, []float32{float32(int8(b)) * scale})
		}
		data = packed
	default:
		return nil, Errorf(CodeUnknownEncoding, "embedding", "encoding %d is not known; f32, f16 and i8 are", e.GetEncoding())
	}
	if len(data) == 0 {
		return nil, Errorf(CodeInvalidEmbedding, "embedding", "embedding has no components")
	}
	if len(data)/4 > event.MaxDimension {
		return nil, Errorf(CodeTooLarge, "embedding", "embedding has %d components; it can have up to %d", len(data)/4, event.MaxDimension)
	}
	if err := event.CheckF32(data, nonzero); err != nil {
		return nil, Errorf(CodeInvalidEmbedding, "embedding", "%v", err)
	}
	return data, nil
}

// CheckHeld refuses an embedding, packed as EmbeddingF32 returns it, that a space which keeps its vectors so would lose.
// With nonzero one that becomes a zero vector is refused, too.
func CheckHeld(packed []byte, kept api.Vectors, nonzero bool) *Error {
	if kept != api.Vectors_VECTORS_F16 {
		return nil // f32 keeps what came, and the codes of int8 have a scale
	}
	if err := event.CheckF16(packed, nonzero); err != nil {
		return Errorf(CodeInvalidEmbedding, "embedding", "%v", err)
	}
	return nil
}
