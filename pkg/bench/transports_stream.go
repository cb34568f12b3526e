package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// frames is a client's end of a stream.
type frames interface {
	send(*api.ObserveStreamRequest) error
	recv() (*api.ObserveStreamResponse, error)
	close()
}

// unencrypted returns a transport of HTTP/2 without TLS, with one connection for as many streams as the server allows.
func unencrypted() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: protocols}
}

type grpcFrames struct {
	*connect.BidiStreamForClient[api.ObserveStreamRequest, api.ObserveStreamResponse]
	after func()
}

func (f *grpcFrames) send(in *api.ObserveStreamRequest) error   { return f.Send(in) }
func (f *grpcFrames) recv() (*api.ObserveStreamResponse, error) { return f.Receive() }

func (f *grpcFrames) close() {
	_, _ = f.CloseRequest(), f.CloseResponse() // all that counts was acknowledged
	if f.after != nil {
		f.after()
	}
}

func grpcStream(ctx context.Context, tr *http.Transport, addr string, after func()) frames {
	c := engramv1connect.NewIngestServiceClient(&http.Client{Transport: tr}, "http://"+addr, connect.WithGRPC())
	return &grpcFrames{c.ObserveStream(ctx), after}
}

type socketFrames struct {
	conn *websocket.Conn
	ctx  context.Context
	f    wire.Format
}

func (s *socketFrames) send(in *api.ObserveStreamRequest) error {
	body, refused := wire.EncodeFrameRequest(s.f, in)
	if refused != nil {
		return refused
	}
	kind := websocket.MessageText
	if s.f == wire.Protobuf {
		kind = websocket.MessageBinary
	}
	return s.conn.Write(s.ctx, kind, body)
}

func (s *socketFrames) recv() (*api.ObserveStreamResponse, error) {
	_, body, err := s.conn.Read(s.ctx)
	if err != nil {
		return nil, err
	}
	out, refused := wire.DecodeFrameResponse(s.f, body)
	if refused != nil {
		return nil, refused
	}
	return out, nil
}

func (s *socketFrames) close() { _ = s.conn.CloseNow() } // as above

// maxAnswer bounds the frames that a WebSocket brings.
const maxAnswer = 16 << 20

func socketStream(ctx context.Context, addr string, f wire.Format) (frames, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+rpc.StreamPath, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	conn.SetReadLimit(maxAnswer)
	return &socketFrames{conn, ctx, f}, nil
}

func overGRPC(addr string) transport {
	return func(ctx context.Context, space string, batches [][]*api.Observation, window int) (event.Position, error) {
		tr := unencrypted()
		return overStream(grpcStream(ctx, tr, addr, tr.CloseIdleConnections), space, batches, window)
	}
}

func overWebSocket(addr string, json bool) transport {
	f := wire.Protobuf
	if json {
		f = wire.JSON
	}
	return func(ctx context.Context, space string, batches [][]*api.Observation, window int) (event.Position, error) {
		s, err := socketStream(ctx, addr, f)
		if err != nil {
			return event.Position{}, err
		}
		return overStream(s, space, batches, window)
	}
}

// overStream opens a session and sends the batches, so many at a time.
func overStream(s frames, space string, batches [][]*api.Observation, window int) (last event.Position, err error) {
	defer s.close()
	if _, err := openSession(s, &api.StreamInit{Space: space}); err != nil {
		return last, err
	}
	places := make(chan struct{}, window)
	ended := make(chan struct{})
	var sender sync.WaitGroup
	var sendErr error
	sender.Go(func() {
		sequence := uint64(1)
		for _, batch := range batches {
			select {
			case places <- struct{}{}:
			case <-ended:
				return
			}
			if sendErr = s.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{
				Observe: &api.StreamObserve{Sequence: sequence, Observations: batch},
			}}); sendErr != nil {
				return
			}
			sequence += uint64(len(batch))
		}
	})
	total, acked, frame := uint64(0), uint64(0), 0
	ends := make([]uint64, len(batches)) // where the sequences of each frame end
	for i, b := range batches {
		total += uint64(len(b))
		ends[i] = total
	}
	for acked < total && err == nil {
		var out *api.ObserveStreamResponse
		if out, err = s.recv(); err != nil {
			break
		}
		switch {
		case out.GetAck() != nil:
			acked = out.GetAck().GetSequence() + uint64(len(out.GetAck().GetResults())) - 1
			last, err = highest(last, out.GetAck().GetResults())
			for ; frame < len(ends) && ends[frame] <= acked; frame++ {
				<-places
			}
		case out.GetRefused() != nil:
			err = fmt.Errorf("an observation was refused: %w", wire.FromProto(out.GetRefused().GetError()))
		case out.GetClosed() != nil:
			err = errors.New("the stream ended before all was acknowledged")
		}
	}
	close(ended)
	if err != nil {
		s.close() // a sender that waits for the connection is let go
	}
	sender.Wait()
	return last, errors.Join(err, sendErr)
}

func openSession(s frames, init *api.StreamInit) (*api.StreamOpened, error) {
	if err := s.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: init}}); err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	out, err := s.recv()
	switch {
	case err != nil:
		return nil, fmt.Errorf("opening a session: %w", err)
	case out.GetOpened() == nil:
		return nil, fmt.Errorf("opening a session was answered with %v", out)
	}
	return out.GetOpened(), nil
}
