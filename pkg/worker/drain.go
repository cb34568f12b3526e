package worker

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// serveDrain starts the micro service "engram-worker", by which an operator has the worker give up its shards.
func (w *Worker) serveDrain() (micro.Service, error) {
	v, err := micro.AddService(w.Conn, micro.Config{
		Name: "engram-worker", Version: w.Version, Description: "Takes orders for one worker.", QueueGroupDisabled: true,
		Metadata: map[string]string{"worker": w.Config.Name},
	})
	if err != nil {
		return nil, fmt.Errorf("starting the service engram-worker: %w", err)
	}
	drain := micro.HandlerFunc(func(req micro.Request) {
		order := new(api.DrainRequest)
		if err := proto.Unmarshal(req.Data(), order); err != nil {
			refused := wire.Errorf(wire.CodeMalformed, "", "the request is not protobuf")
			bus.Refuse(req, bus.ContentProtobuf, refused.Status(), refused.Error(), wire.EncodeError(wire.Protobuf, refused))
			return
		}
		w.placer.drain(order.GetCancel())
		w.Logger.Info().Bool("drain", !order.GetCancel()).Msg("an operator has said whether the worker gives up its shards")
		w.beatSoon()
		body, err := proto.Marshal(&api.DrainResponse{Shards: uint32(len(w.held()))})
		if err == nil {
			bus.Answer(req, bus.ContentProtobuf, body)
		}
	})
	if err := v.AddEndpoint("drain", bus.Guard(w.Logger, drain), micro.WithEndpointSubject(bus.DrainSubject(w.Config.Name))); err != nil {
		return nil, errors.Join(fmt.Errorf("adding an endpoint to engram-worker: %w", err), v.Stop())
	}
	return v, nil
}

// leaving tells whether the worker gives up its shards.
func (w *Worker) leaving() bool {
	if w.Group == nil {
		return false
	}
	self := w.Group.Self()
	return self.Draining || self.Stopping
}
