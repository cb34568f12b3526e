// Package storetest is the conformance suite of vecstore: what a shard promises, whichever engine searches its spaces.
//
// It uses exported names only and compares every answer with a model that is a map and a loop over all rows (model.go).
// An engine passes when the test of the package that has it calls
//
//	storetest.Run(t, storetest.Factory{Engine: "exact", RecallFloor: 1})
package storetest

import (
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// Factory says which engine is tested, and what is expected of it.
type Factory struct {
	// Engine is put into the definition of every space.
	Engine string
	// RecallFloor is the least part, above 0 and at most 1, of the true nearest rows that the searches of one check
	// must find together. An engine that returns less than everything still returns nothing wrong: each hit must exist,
	// with its right score, once, in order.
	RecallFloor float64
	// Rows is the number of rows of the spaces that recall is measured on. Default: 2,000. An engine that scans small
	// spaces wants more than its threshold here.
	Rows int
	// Vectors is put into the definition of every space. The model has the vectors as the space keeps them.
	Vectors vecstore.Vectors
	// Memory runs the suite on a file system in memory, and lets a shard lose power too, wherever it is closed and killed.
	Memory bool
	// Options are those of every shard.
	Options vecstore.Options
}

// Run runs the whole suite.
func Run(t *testing.T, f Factory) {
	if f.RecallFloor <= 0 || f.RecallFloor > 1 {
		t.Fatalf("a recall floor of %g tests nothing: it must be above 0 and at most 1", f.RecallFloor)
	}
	if f.Rows == 0 {
		f.Rows = 2000
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, Factory)
	}{
		{"Search", testSearch},
		{"SearchByID", testSearchByID},
		{"MinScore", testMinScore},
		{"Expiry", testExpiry},
		{"Isolation", testIsolation},

		{"UpsertInAnyOrder", testUpsertInAnyOrder},
		{"Redelivery", testRedelivery},
		{"ForgetMany", testForgetMany},

		{"Generations", testGenerations},
		{"DropWithRowsOnTheirWay", testDropWithRowsOnTheirWay},

		{"List", testList},
		{"Get", testGet},
		{"Forms", testForms},
		{"Refusals", testRefusals},
		{"OddQueries", testOddQueries},
		{"Closed", testClosed},

		{"Position", testPosition},
		{"Killed", testKilled},
		{"Distrust", testDistrust},
		{"CheckpointCost", testCheckpointCost},

		{"ReadersDuringReplacement", testReadersDuringReplacement},
		{"SpacesInParallel", testSpacesInParallel},
		{"RandomOperations", testRandomOperations},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, f) })
	}
}
