package config

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrHelp is returned by [Load] after it has printed the help; the program
	// has nothing left to do and exits 0.
	ErrHelp = errors.New("help was printed")
	// ErrPrinted is returned by [Load] and [Binding.Resolve] after
	// --print-config; the program exits 0.
	ErrPrinted = errors.New("the configuration was printed")
	// ErrUnknownKey is wrapped by an [Error] about a key that does not exist.
	ErrUnknownKey = errors.New("unknown key")
	// ErrInvalid is wrapped by an [Error] about a value that is not allowed.
	ErrInvalid = errors.New("value is not allowed")
)

// Error says which key of which source is wrong, and what would be right.
type Error struct {
	// Source is "FILE:LINE", the name of a variable, a flag, or "default".
	Source string
	// Key is the dotted key, such as "queue.capacity"; for an unknown variable
	// it is the variable's name.
	Key string
	// Value is the text that was refused; "" for a secret and an unknown key.
	Value string
	// Reason completes "it …", for instance "must be a whole number".
	Reason string

	kind   error
	secret bool
}

// Error is one sentence, without the value when that is a secret.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		fmt.Fprintf(&b, "%s: ", e.Source)
	}
	switch {
	case e.kind == ErrUnknownKey:
		fmt.Fprintf(&b, "unknown key %q; %s", e.Key, e.Reason)
	case e.secret:
		fmt.Fprintf(&b, "%s has a value that is not shown; it %s", e.Key, e.Reason)
	default:
		fmt.Fprintf(&b, "%s is %q; it %s", e.Key, e.Value, e.Reason)
	}
	return b.String()
}

// Unwrap gives [ErrUnknownKey] or [ErrInvalid].
func (e *Error) Unwrap() error { return e.kind }

// Reject is what a Validate method returns about one key. The reason completes
// "it …" ("must be above min_batch_size"). The loader adds the value and the
// source that it came from, so that the user learns which line to change.
func Reject(key, reason string, args ...any) error {
	return &Error{Key: key, Reason: fmt.Sprintf(reason, args...), kind: ErrInvalid}
}
