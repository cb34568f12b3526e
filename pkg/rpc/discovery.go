package rpc

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
)

// The names of the services.
const (
	IngestService = engramv1connect.IngestServiceName
	RecallService = engramv1connect.RecallServiceName
)

// Discovery serves gRPC's health checks and reflection for services of a port. ready tells why a service cannot serve, nil
// when it can; the empty name in a check stands for all of them.
func Discovery(ready map[string]func() error) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle(grpchealth.NewHandler(checker(ready), connect.WithReadMaxBytes(maxQuestion)))
	names := []string{grpchealth.HealthV1ServiceName}
	for name := range ready {
		names = append(names, name)
	}
	slices.Sort(names)
	reflector := grpcreflect.NewStaticReflector(names...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, connect.WithReadMaxBytes(maxQuestion)))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, connect.WithReadMaxBytes(maxQuestion)))
	return mux
}

// maxQuestion bounds what is asked here.
const maxQuestion = 64 << 10

type checker map[string]func() error

func (c checker) Check(_ context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	_, known := c[req.Service]
	if !known && req.Service != "" {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %q here", req.Service))
	}
	for name, ready := range c {
		if (!known || name == req.Service) && ready() != nil {
			return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
		}
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}
