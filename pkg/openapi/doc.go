// Package openapi serves the HTTP face of a daemon and describes it. A Route is one operation: its handler, and what the
// document says of it. New registers each with huma on one mux, so that the routes and the OpenAPI 3.1 document cannot
// differ; schemas are made from the types that pkg/wire encodes and decodes. What is on the wire is not huma's: a handler
// reads and answers as the contract says, and no validation but the contract's stands before it.
package openapi
