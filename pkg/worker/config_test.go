package worker

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// A tag cannot name a constant.
func TestMapBytesIsWhatTheStoreHas(t *testing.T) {
	field, _ := reflect.TypeFor[IndexConfig]().FieldByName("MapBytes")
	if got, want := field.Tag.Get("default"), fmt.Sprint(vecstore.DefaultMapBytes); got != want {
		t.Errorf("the default in the tag is %s, want %s", got, want)
	}
}
