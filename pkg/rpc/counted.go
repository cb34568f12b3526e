package rpc

import (
	"bytes"
	"compress/gzip"
	"context"
	endian "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/engram-memory/engram/pkg/session"
)

// What Connect's handlers read is counted before it is decoded, which they do themselves: so it is counted, and unpacked, on
// its way to them. A message is counted times what decoding it takes, see session.Factor.

// bodyKey is the key of a stream's body in a request's context.
type bodyKey struct{}

// counted serves requests whose bodies are counted until they are answered. A frame of a stream is counted until the next one
// is asked for.
func counted(memory session.Memory, most int, stream bool, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		b := &body{
			ReadCloser: r.Body, held: session.Held{Memory: memory}, most: most, factor: session.ProtobufFactor, soft: stream,
			packed: r.Header.Get("Grpc-Encoding") == "gzip" || r.Header.Get("Connect-Content-Encoding") == "gzip",
		}
		defer func() { b.stopped(); b.held.Release() }()
		if strings.HasSuffix(media, "json") {
			b.factor = session.JSONFactor
		}
		b.framed = strings.HasPrefix(media, "application/grpc") || strings.HasPrefix(media, "application/connect+")
		if !b.framed && r.Header.Get("Content-Encoding") == "gzip" {
			b.ReadCloser = &unpacked{ReadCloser: r.Body}
			r.Header.Del("Content-Encoding")
		}
		r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, b))
		r.Body = b
		h.ServeHTTP(w, r)
	})
}

func bodyOf(ctx context.Context) *body {
	b, _ := ctx.Value(bodyKey{}).(*body)
	return b
}

// body is a request's body whose bytes are counted. Where it is framed, as those of gRPC and of Connect's streams are, each
// message has a byte of flags and its length before it.
type body struct {
	io.ReadCloser
	held         session.Held
	most, factor int
	framed       bool
	packed       bool // messages may be packed with gzip
	soft         bool // a message for which there is no room is left out rather than that the body ends

	total    int    // bytes of a body that is not framed
	ready    []byte // read already: the head of a message, or all of one that was packed
	left     int64  // of the message that is being read
	uncount  bool   // which is larger than what is taken, so that nobody keeps it
	leftOut  bool   // the message was left out
	full     bool   // the body ended for want of memory
	silence  *time.Timer
	silenced func() // called when nothing comes of a message for frameSilence
}

// frameSilence is how long a client may send nothing of a frame that it has begun: what there is of it is held meanwhile.
const frameSilence = 30 * time.Second

// next lets go of the message before.
func (b *body) next() {
	b.stopped()
	b.held.Release()
	b.leftOut = false
}

func (b *body) stopped() {
	if b.silence != nil {
		b.silence.Stop()
	}
}

// comes notes that something came of a message.
func (b *body) comes() {
	switch {
	case b.silenced == nil:
	case b.silence == nil:
		b.silence = time.AfterFunc(frameSilence, b.silenced)
	default:
		b.silence.Reset(frameSilence)
	}
}

func (b *body) grow(n int) error {
	if b.held.Grow(n * b.factor) {
		return nil
	}
	b.full = true
	return session.TooMuchRead().Connect()
}

func (b *body) Read(p []byte) (int, error) {
	if !b.framed {
		n, err := b.ReadCloser.Read(p)
		if b.total += n; b.total <= b.most {
			if refused := b.grow(n); refused != nil {
				return 0, refused
			}
		}
		return n, err
	}
	for {
		switch {
		case len(b.ready) > 0:
			n := copy(p, b.ready)
			b.ready = b.ready[n:]
			return n, nil
		case b.left > 0:
			n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
			b.left -= int64(n)
			if !b.uncount {
				if refused := b.grow(n); refused != nil {
					return 0, refused
				}
			}
			b.comes()
			return n, err
		}
		if err := b.head(); err != nil {
			return 0, err
		}
	}
}

// headSize is that of what stands before a message.
const headSize = 5

// flagPacked is the flag of a message that is packed.
const flagPacked = 1

// head reads what stands before a message, and the message where that is packed or left out.
func (b *body) head() error {
	var head [headSize]byte
	n, err := io.ReadFull(b.ReadCloser, head[:])
	if n < headSize && (n == 0 || !errors.Is(err, io.ErrUnexpectedEOF)) {
		return err
	}
	b.ready = head[:n]
	if n < headSize {
		return nil // the next read finds the end
	}
	b.comes()
	b.left = int64(endian.BigEndian.Uint32(head[1:]))
	b.uncount = b.left > int64(b.most)
	switch {
	case b.uncount:
	case b.soft && !b.held.Room(int(b.left)*b.factor):
		return b.leaveOut()
	case head[0]&flagPacked != 0 && b.packed:
		return b.unpack(head[0] &^ flagPacked)
	}
	return nil
}

// leaveOut reads over a message; its reader gets an empty one.
func (b *body) leaveOut() error {
	b.leftOut = true
	b.ready = make([]byte, headSize)
	_, err := io.CopyN(io.Discard, b.ReadCloser, b.left)
	b.left = 0
	return err
}

// unpack reads a packed message, so that what it becomes is counted.
func (b *body) unpack(flags byte) error {
	in := &io.LimitedReader{R: b.ReadCloser, N: b.left}
	b.left = 0
	z, err := gzip.NewReader(in)
	if err != nil {
		return notPacked(err)
	}
	message := bytes.NewBuffer(make([]byte, headSize))
	part := make([]byte, 32<<10)
	for err == nil {
		var n int
		n, err = z.Read(part)
		if refused := b.grow(n); refused != nil {
			if !b.soft {
				return refused
			}
			b.full, b.left = false, in.N
			b.held.Release()
			return b.leaveOut()
		}
		if message.Write(part[:n]); message.Len() > headSize+b.most {
			return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("the message has more than %d bytes once it is unpacked", b.most))
		}
		b.comes()
	}
	if !errors.Is(err, io.EOF) {
		return notPacked(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	b.ready = message.Bytes()
	b.ready[0] = flags
	endian.BigEndian.PutUint32(b.ready[1:], uint32(message.Len()-headSize))
	return nil
}

func notPacked(err error) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the message is not what gzip makes: %w", err))
}

// unpacked is a body that is packed as a whole.
type unpacked struct {
	io.ReadCloser
	z *gzip.Reader
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.z == nil {
		z, err := gzip.NewReader(u.ReadCloser)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF // an empty body is not packed
		}
		if err != nil {
			return 0, notPacked(err)
		}
		u.z = z
	}
	n, err := u.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = notPacked(err)
	}
	return n, err
}
