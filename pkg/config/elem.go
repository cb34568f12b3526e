package config

import (
	"cmp"
	"encoding"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// elemType converts between the text and the value of one scalar type.
type elemType struct {
	phrase string // "a whole number": what the text has to be
	bare   bool   // the text needs no quotes in YAML
	whole  bool   // the type itself is a slice, but one text fills it
	parse  func(v reflect.Value, text string) error
	format func(v reflect.Value) string
}

var (
	errText = errors.New("text does not fit the type")

	durationType    = reflect.TypeFor[time.Duration]()
	byteSizeType    = reflect.TypeFor[ByteSize]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// elemOf finds the conversions of t; ok is false for a type without any.
func elemOf(t reflect.Type) (e elemType, ok bool) {
	switch {
	case t == durationType:
		return durationElem(), true
	case reflect.PointerTo(t).Implements(unmarshalerType) && reflect.PointerTo(t).Implements(marshalerType):
		return textElem(t), true
	}
	switch t.Kind() {
	case reflect.String:
		return stringElem(), true
	case reflect.Bool:
		return boolElem(), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intElem(), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintElem(), true
	case reflect.Float32, reflect.Float64:
		return floatElem(), true
	}
	return elemType{}, false
}

func stringElem() elemType {
	return elemType{
		phrase: "UTF-8 text",
		parse: func(v reflect.Value, text string) error {
			if !utf8.ValidString(text) {
				return errText
			}
			v.SetString(text)
			return nil
		},
		format: reflect.Value.String,
	}
}

func boolElem() elemType {
	return elemType{
		phrase: "true or false", bare: true,
		parse: func(v reflect.Value, text string) error {
			b, err := strconv.ParseBool(text)
			v.SetBool(b)
			return err
		},
		format: func(v reflect.Value) string { return strconv.FormatBool(v.Bool()) },
	}
}

func intElem() elemType {
	return elemType{
		phrase: "a whole number", bare: true,
		parse: func(v reflect.Value, text string) error {
			n, err := strconv.ParseInt(text, 10, v.Type().Bits())
			v.SetInt(n)
			return err
		},
		format: func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) },
	}
}

func uintElem() elemType {
	return elemType{
		phrase: "a whole number, 0 or more", bare: true,
		parse: func(v reflect.Value, text string) error {
			n, err := strconv.ParseUint(text, 10, v.Type().Bits())
			v.SetUint(n)
			return err
		},
		format: func(v reflect.Value) string { return strconv.FormatUint(v.Uint(), 10) },
	}
}

func floatElem() elemType {
	return elemType{
		phrase: "a number", bare: true,
		parse: func(v reflect.Value, text string) error {
			f, err := strconv.ParseFloat(text, v.Type().Bits())
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return errText
			}
			v.SetFloat(f)
			return nil
		},
		format: func(v reflect.Value) string {
			return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
		},
	}
}

func durationElem() elemType {
	return elemType{
		phrase: "a duration such as 500ms, 2s or 1m30s", bare: true,
		parse: func(v reflect.Value, text string) error {
			d, err := time.ParseDuration(text)
			v.SetInt(int64(d))
			return err
		},
		format: func(v reflect.Value) string { return time.Duration(v.Int()).String() },
	}
}

// textElem leaves the conversion to the type's own methods.
func textElem(t reflect.Type) elemType {
	e := elemType{
		phrase: "a valid " + t.Name(),
		whole:  t.Kind() == reflect.Slice,
		parse: func(v reflect.Value, text string) error {
			if !utf8.ValidString(text) {
				return errText
			}
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		},
		format: func(v reflect.Value) string {
			// MarshalText may have a pointer receiver; a bound is not addressable.
			p := reflect.New(v.Type())
			p.Elem().Set(v)
			text, err := p.Interface().(encoding.TextMarshaler).MarshalText()
			if err != nil {
				return ""
			}
			return string(text)
		},
	}
	if t == byteSizeType {
		e.phrase, e.bare = "a size such as 512KiB, 64MiB or 1GB", true
	}
	return e
}

// compare orders two values of one numeric type; isNumeric says which those are.
func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	default:
		return cmp.Compare(a.Float(), b.Float())
	}
}

func isNumeric(t reflect.Type) bool {
	v := reflect.Zero(t)
	return v.CanInt() || v.CanUint() || v.CanFloat()
}
