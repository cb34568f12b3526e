package rows

// What the tests that keep a manifest need of the others.
var (
	Event       = event
	CopyRecord  = copyRecord
	WantRecord  = wantRecord
	TestSource  = testSource
	SegmentName = segmentName
)
