package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// envPrefix starts every variable that this package looks at.
const envPrefix = "ENGRAM_"

// key is one leaf of the struct: a setting with its names, its rules, the field
// it is stored in, and where its present value came from.
type key struct {
	name   string // "queue.max_batch_size"
	flag   string // "queue.max-batch-size"
	env    string // "ENGRAM_QUEUE_MAX_BATCH_SIZE"
	usage  string
	secret bool
	oneOf  []string
	field  reflect.Value // addressable
	elem   elemType      // of the field, or of one element of a slice
	min    reflect.Value // invalid when there is no bound
	max    reflect.Value
	staged []string // texts given as flags, in order
	source string   // of the present value, as in Error.Source
}

const sourceDefault = "default"

func (k *key) isList() bool { return k.field.Kind() == reflect.Slice && !k.elem.whole }

// set parses texts into the field and remembers the source. A key that is not a
// list takes exactly one text. The field is unchanged after an error.
func (k *key) set(texts []string, source string) error {
	if !k.isList() {
		v := reflect.New(k.field.Type()).Elem()
		if err := k.parse(v, texts[0], source); err != nil {
			return err
		}
		k.field.Set(v)
		k.source = source
		return nil
	}
	list := reflect.Zero(k.field.Type()) // nil when empty, whatever the source
	if len(texts) > 0 {
		list = reflect.MakeSlice(k.field.Type(), len(texts), len(texts))
	}
	for i, text := range texts {
		if err := k.parse(list.Index(i), text, source); err != nil {
			return err
		}
	}
	k.field.Set(list)
	k.source = source
	return nil
}

func (k *key) parse(v reflect.Value, text, source string) error {
	if err := k.elem.parse(v, text); err != nil || !k.inRange(v) || !k.isAllowed(text) {
		return k.reject(text, source, "must be "+k.allowed())
	}
	return nil
}

func (k *key) isAllowed(text string) bool {
	return len(k.oneOf) == 0 || slices.Contains(k.oneOf, text)
}

func (k *key) inRange(v reflect.Value) bool {
	return (!k.min.IsValid() || compare(v, k.min) >= 0) && (!k.max.IsValid() || compare(v, k.max) <= 0)
}

func (k *key) reject(text, source, reason string) error {
	e := &Error{Source: source, Key: k.name, Value: text, Reason: reason, kind: ErrInvalid}
	e.hide(k)
	return e
}

// hide removes the value of a secret from the error.
func (e *Error) hide(k *key) {
	if k.secret {
		e.secret, e.Value = true, ""
	}
}

// allowed describes the values that parse accepts, to complete "must be …".
func (k *key) allowed() string {
	if len(k.oneOf) > 0 {
		return "one of " + strings.Join(k.oneOf, ", ")
	}
	switch lo, hi := k.min.IsValid(), k.max.IsValid(); {
	case lo && hi:
		return fmt.Sprintf("%s from %s to %s", k.elem.phrase, k.elem.format(k.min), k.elem.format(k.max))
	case lo:
		return fmt.Sprintf("%s, at least %s", k.elem.phrase, k.elem.format(k.min))
	case hi:
		return fmt.Sprintf("%s, at most %s", k.elem.phrase, k.elem.format(k.max))
	}
	return k.elem.phrase
}

// texts is the present value in the form that set accepts.
func (k *key) texts() []string {
	if !k.isList() {
		return []string{k.elem.format(k.field)}
	}
	out := make([]string, k.field.Len())
	for i := range out {
		out[i] = k.elem.format(k.field.Index(i))
	}
	return out
}

// splitList takes a list apart that was given as one text; "" is the empty list.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
