package openapi

import "net/http"

// Tags of operations, by which the page groups them.
const (
	TagObserve  = "Observe"
	TagRecall   = "Recall"
	TagForget   = "Forget"
	TagSpaces   = "Spaces"
	TagDocument = "This document"
)

// Route is one operation.
type Route struct {
	Method string
	// Path is a pattern of http.ServeMux without its method: a parameter is {name}, or {name...} for the rest of the path.
	Path    string
	Handler http.HandlerFunc

	// ID is the name of the operation for generated clients.
	ID      string
	Tag     string
	Summary string
	// Text says more than Summary.
	Text string
	// Role is what the caller needs in the space; empty for none.
	Role string
	// Query has the names of the parameters that the address may have. Any other is refused before Handler is called.
	Query []string
	// Headers has the names of those that the operation reads, beside those of HTTP itself.
	Headers []string
	// AnyQuery lets the address have other parameters, too, which are not looked at.
	AnyQuery bool
	Body     *Body
	Answers  []Answer
	// Refusals are the statuses of errors, beside those that every operation can have.
	Refusals []int
	// Partial is the schema of an answer that has one of these statuses, too: that of several of which some failed.
	Partial string
}

// Body is what a request can have.
type Body struct {
	// Schema is the name of one of wire.Shapes.
	Schema string
	// Message is its name in protobuf.
	Message string
	// Line is the schema of a line, where NDJSON is taken, too.
	Line string
	// Optional tells that the body may be empty.
	Optional bool
	// Examples are JSON, by what they show.
	Examples []Example
}

// Example is one body.
type Example struct {
	Name    string
	Summary string
	// Text is JSON, or lines of it.
	Text string
	// Lines tells that it is NDJSON.
	Lines bool
}

// Answer is what a request that is not refused gets.
type Answer struct {
	Status int
	Text   string
	// Schema, Message and Line are as in Body; all are empty where there is no body.
	Schema  string
	Message string
	Line    string
	// OrSchema is that of another answer in JSON, which the request decides on.
	OrSchema string
	// Media is the content type of an answer that has none of them.
	Media string
}
