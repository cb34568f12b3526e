// Package rpc is Engram over gRPC, gRPC-Web and Connect, which share the paths /engram.v1.<service>/<method> of an HTTP
// port, and over WebSocket at /v1/stream. It decodes, calls a gateway, a router of recalls or a manager of sessions, and
// encodes; what is checked and admitted is theirs.
package rpc
