package vecstore_test

import (
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/storetest"
)

func TestExactEngineConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{Engine: vecstore.EngineExact, RecallFloor: 1})
}

// Small spaces are scanned, whatever the engine.
func TestSmallSpacesConform(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{Engine: vecstore.EngineHNSW, RecallFloor: 1})
}

// The vectors are random ones of 24 components, which have no clusters: harder than text.
func TestGraphEngineConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{
		Engine: vecstore.EngineHNSW, RecallFloor: 0.9, Rows: 3000, Options: vecstore.Options{GraphRows: 256, TailRows: 512},
	})
}

// The graph of github.com/coder/hnsw does not find much.
func TestCoderEngineConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{
		Engine: vecstore.EngineCoder, RecallFloor: 0.3, Rows: 1000, Options: vecstore.Options{GraphRows: 256, TailRows: 512},
	})
}

// Each engine with each form of vectors, on a machine that loses power now and then.
func TestFormsConform(t *testing.T) {
	forms := map[string]vecstore.Vectors{"f32": vecstore.VectorsF32, "f16": vecstore.VectorsF16, "none": vecstore.VectorsNone}
	for name, form := range forms {
		for engine, floor := range map[string]float64{vecstore.EngineExact: 1, vecstore.EngineHNSW: 0.9} {
			t.Run(fmt.Sprintf("%s %s", engine, name), func(t *testing.T) {
				t.Parallel()
				storetest.Run(t, storetest.Factory{
					Engine: engine, Vectors: form, RecallFloor: floor, Memory: true, Rows: 1000,
					Options: vecstore.Options{GraphRows: 256, TailRows: 512},
				})
			})
		}
	}
}
