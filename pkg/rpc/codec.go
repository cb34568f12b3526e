package rpc

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// The codecs read requests as every transport of the contract does: unknown fields of protobuf are dropped, since they are
// under no limit and would be kept in the log, and those of JSON are refused.

// binary is protobuf.
type binary struct{}

func (binary) Name() string { return "proto" }

func (binary) Marshal(m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(p)
}

// MarshalAppend is Marshal into a buffer that is there.
func (binary) MarshalAppend(dst []byte, m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, p)
}

func (binary) Unmarshal(b []byte, m any) error {
	p, err := message(m)
	if err != nil {
		return err
	}
	if frame, ok := p.(*api.ObserveStreamRequest); ok {
		if refused := wire.CheckCount(b, frame); refused != nil {
			return refused
		}
	}
	return proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, p)
}

// text is protobuf's own JSON, in which Connect is spoken.
type text struct{ name string }

func (t text) Name() string { return t.name }

func (text) Marshal(m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(p)
}

func (text) Unmarshal(b []byte, m any) error {
	p, err := message(m)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("the body is empty; send {} for a request that says nothing")
	}
	if refused := wire.CheckObjects(b); refused != nil {
		return refused
	}
	return protojson.Unmarshal(b, p)
}

func message(m any) (proto.Message, error) {
	p, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message of protobuf", m)
	}
	return p, nil
}
