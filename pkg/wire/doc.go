// Package wire is the contract as bytes: it reads and writes the messages of proto/engram/v1 as protobuf and as JSON,
// checks what can be checked without knowing a space, and holds the one table of error codes. docs/wire.md is its prose.
//
// Every transport decodes with this package, so that the same input gets the same answer on each.
package wire
