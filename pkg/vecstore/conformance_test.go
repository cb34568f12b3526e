package vecstore_test

import (
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/storetest"
)

func TestExactEngineConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{Engine: "exact", RecallFloor: 1})
}
