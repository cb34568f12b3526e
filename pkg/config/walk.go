package config

import (
	"fmt"
	"reflect"
	"strings"
)

// walker collects the keys of a struct, depth first, in the order of the fields.
type walker struct {
	keys     []*key
	sections map[string]bool
	names    map[string]bool // env names: the coarsest of the three spellings
}

// walkStruct reports a mistake in the declaration of the struct, never in its values.
func walkStruct(v reflect.Value) (*walker, error) {
	w := &walker{sections: map[string]bool{}, names: map[string]bool{envPrefix + "CONFIG": true}}
	if err := w.structFields(v, ""); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *walker) structFields(v reflect.Value, prefix string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag, tagged := field.Tag.Lookup("yaml")
		if !field.IsExported() || tag == "-" {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		elem, isScalar := elemOf(field.Type)
		isSection := field.Type.Kind() == reflect.Struct && !isScalar
		var err error
		switch {
		case option == "inline" && isSection:
			err = w.structFields(v.Field(i), prefix)
		case !tagged || name == "" || option != "" || strings.ContainsAny(name, " .:-"):
			err = fmt.Errorf("config: field %s of %s needs a tag such as `yaml:\"queue_capacity\"`", field.Name, v.Type())
		case isSection:
			err = w.section(v.Field(i), prefix+name)
		default:
			err = w.leaf(v.Field(i), field, prefix+name, elem, isScalar)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) section(v reflect.Value, name string) error {
	if w.sections[name] {
		return fmt.Errorf("config: section %s is declared twice", name)
	}
	w.sections[name] = true
	return w.structFields(v, name+".")
}

func (w *walker) leaf(v reflect.Value, field reflect.StructField, name string, elem elemType, isScalar bool) error {
	if !isScalar && field.Type.Kind() == reflect.Slice {
		elem, isScalar = elemOf(field.Type.Elem())
	}
	if !isScalar {
		return fmt.Errorf("config: %s has type %s, which cannot be read from text", name, field.Type)
	}
	k := &key{
		name:   name,
		flag:   strings.ReplaceAll(name, "_", "-"),
		env:    envPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "_")),
		usage:  field.Tag.Get("usage"),
		secret: field.Tag.Get("secret") == "true",
		oneOf:  splitList(field.Tag.Get("oneof")),
		field:  v,
		elem:   elem,
		source: sourceDefault,
	}
	if w.names[k.env] || w.sections[name] || k.flag == flagPrint || k.flag == "help" {
		return fmt.Errorf("config: the name of %s is taken by another key (%s, --%s)", name, k.env, k.flag)
	}
	w.names[k.env] = true
	if err := k.bounds(field.Tag); err != nil {
		return err
	}
	if err := k.defaultValue(field.Tag); err != nil {
		return err
	}
	w.keys = append(w.keys, k)
	return nil
}

func (k *key) bounds(tag reflect.StructTag) error {
	typ := k.field.Type()
	if k.isList() {
		typ = typ.Elem()
	}
	for _, b := range []struct {
		tag string
		dst *reflect.Value
	}{{"min", &k.min}, {"max", &k.max}} {
		text, ok := tag.Lookup(b.tag)
		if !ok {
			continue
		}
		bound := reflect.New(typ).Elem()
		if !isNumeric(typ) || k.elem.parse(bound, text) != nil {
			return fmt.Errorf("config: tag %s:%q of %s is not a bound of its type %s", b.tag, text, k.name, typ)
		}
		*b.dst = bound
	}
	return nil
}

// defaultValue applies the default tag, unless the field has a value already.
func (k *key) defaultValue(tag reflect.StructTag) error {
	text, ok := tag.Lookup("default")
	switch {
	case !ok || !k.field.IsZero():
		return nil
	case k.secret:
		return fmt.Errorf("config: %s is a secret and cannot have a default in the source code", k.name)
	case k.isList():
		return k.set(splitList(text), sourceDefault)
	default:
		return k.set([]string{text}, sourceDefault)
	}
}
