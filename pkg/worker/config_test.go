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

// A directory on the disk of one worker must not be all that is left of a log.
func TestTrimmingForADirectoryOfOneWorkerIsRefused(t *testing.T) {
	for store, refused := range map[string]bool{"dir:/var/snapshots": true, "bucket": false} {
		for _, shared := range []bool{false, true} {
			cfg := DefaultConfig()
			cfg.Snapshot.Store, cfg.Snapshot.Trim, cfg.Snapshot.Shared = store, true, shared
			if err := cfg.Resolve(); (err != nil) != (refused && !shared) {
				t.Errorf("store %s, shared %v: %v", store, shared, err)
			}
		}
	}
}
