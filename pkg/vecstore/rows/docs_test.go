package rows

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/rows/formattest"
	"github.com/klauspost/compress/s2"
	"github.com/minio/highwayhash"
)

type field = formattest.Field

var u16, u32, u64 = formattest.U16, formattest.U32, formattest.U64

func rowlogDoc(t *testing.T) formattest.Document {
	t.Helper()
	return formattest.Read(t, "../../../docs/format/rowlog.md")
}

func rowindexDoc(t *testing.T) formattest.Document {
	t.Helper()
	return formattest.Read(t, "../../../docs/format/rowindex.md")
}

func TestDocumentedSegmentHeader(t *testing.T) {
	b := appendSegmentHeader(nil, 0x11121314, Source{Epoch: "the epoch", Shard: 0x21222324, CreatedAt: 0x3132333435363738})
	rowlogDoc(t).Layout(t, "Segment header", 0, b, []field{
		{Name: "magic of a segment", Bytes: []byte(segmentMagic)},
		{Name: "version", Bytes: u32(segmentVersion)},
		{Name: "file id", Bytes: u32(0x11121314)},
		{Name: "creation time of the stream", Bytes: u64(0x3132333435363738)},
		{Name: "shard", Bytes: u32(0x21222324)},
		{Name: "length of the epoch", Bytes: u32(9)},
		{Name: "epoch", Bytes: append([]byte("the epoch"), make([]byte, 55)...)},
		{Name: "zero", Bytes: make([]byte, 28)},
		{Name: "CRC-32C of bytes 0 to 123", Bytes: u32(checksum(b[:124]))},
	})
}

func documentedRecord(t *testing.T) (Record, []byte) {
	t.Helper()
	rec := Record{
		Kind: KindObserve, Encoding: I8, Space: 0x11121314, Sequence: 0x2122232425262728, Published: 0x3132333435363738,
		Expires: 0x4142434445464748, Vector: []byte("VECTOR.."), ID: []byte("an id"), Body: []byte("the body"),
	}
	b, err := appendRecord(nil, &rec)
	if err != nil {
		t.Fatal(err)
	}
	return rec, b
}

func TestDocumentedRecord(t *testing.T) {
	_, b := documentedRecord(t)
	rowlogDoc(t).Layout(t, "Record", 0, b, []field{
		{Name: "CRC-32C of bytes 4 to the end of the record", Bytes: u32(checksum(b[4:]))},
		{Name: "length of the whole record", Bytes: u32(72)},
		{Name: "kind", Bytes: []byte{2}},
		{Name: "form", Bytes: []byte{2}},
		{Name: "length of the id", Bytes: u16(5)},
		{Name: "space number; 0 in a checkpoint", Bytes: u32(0x11121314)},
		{Name: "sequence in the stream", Bytes: u64(0x2122232425262728)},
		{Name: "publish time", Bytes: u64(0x3132333435363738)},
		{Name: "expiry", Bytes: u64(0x4142434445464748)},
		{Name: "bytes of the vector", Bytes: u32(8)},
		{Name: "bytes of the body", Bytes: u32(8)},
		{Name: "vector", Bytes: []byte("VECTOR..")},
		{Name: "id", Bytes: []byte("an id")},
		{Name: "body", Bytes: []byte("the body")},
		{Name: "padding", Bytes: make([]byte, 3)},
	})
}

func TestDocumentedCompressedPayload(t *testing.T) {
	rec, _ := documentedRecord(t)
	rec.Body = bytes.Repeat([]byte("the body "), 20)
	raw, err := appendRecord(nil, &rec)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := packRecord(nil, raw, nil)
	if b[9] != 0x80|2 {
		t.Errorf("the form of a compressed record is %#x", b[9])
	}
	block := s2.EncodeBetter(nil, raw[recordHeader:recordHeader+8+5+180])
	rowlogDoc(t).Layout(t, "Compressed payload", recordHeader, b[recordHeader:], []field{
		{Name: "bytes of the s2 block", Bytes: u32(uint32(len(block)))},
		{Name: "s2 block", Bytes: block},
		{Name: "padding", Bytes: make([]byte, len(b)-recordHeader-4-len(block))},
	})
}

func TestDocumentedDefinition(t *testing.T) {
	b := AppendDefinition(nil, &Definition{
		Name: "a name", Dimension: 0x11121314, Metric: 3, Vectors: F16, Generation: 0x21222324,
		Embedder: "an embedder", Engine: "an engine", CreatedAt: 0x3132333435363738,
	})
	doc := rowlogDoc(t)
	doc.Layout(t, "Definition", 0, b, []field{
		{Name: "dimension", Bytes: u32(0x11121314)},
		{Name: "generation", Bytes: u32(0x21222324)},
		{Name: "creation time", Bytes: u64(0x3132333435363738)},
		{Name: "metric", Bytes: []byte{3}},
		{Name: "vectors", Bytes: []byte{1}},
		{Name: "name", Bytes: []byte("\x06a name")},
		{Name: "embedder", Bytes: []byte("\x0ban embedder")},
		{Name: "engine", Bytes: []byte("\x09an engine")},
	})
	if row := doc.Rows(t, "Definition", 3)[0]; row[2] != "dimension, 1 to "+strconv.Itoa(MaxDimension) {
		t.Errorf("the document says %q, the largest dimension is %d", row[2], MaxDimension)
	}
}

func TestDocumentedCheckpoint(t *testing.T) {
	b := appendCheckpoint(nil, place{0x11121314, 0x2122232425262728})
	rowlogDoc(t).Layout(t, "Checkpoint", 0, b, []field{
		{Name: "magic of a checkpoint", Bytes: []byte(checkpointMagic)},
		{Name: "file id of the place that it vouches for; 0 for none", Bytes: u32(0x11121314)},
		{Name: "zero", Bytes: u32(0)},
		{Name: "offset of that place", Bytes: u64(0x2122232425262728)},
	})
}

func TestDocumentedNumbers(t *testing.T) {
	doc := rowlogDoc(t)
	kinds, encodings := map[string]string{}, map[string]string{}
	for k := KindDefine; k <= KindCheckpoint; k++ {
		kinds[k.String()] = strconv.Itoa(int(k))
	}
	for e := F32; e <= I8; e++ {
		encodings[e.String()] = strconv.Itoa(int(e))
	}
	doc.Values(t, "Record", 4, 1, 0, kinds)
	doc.Values(t, "Encodings", 3, 1, 0, encodings)
	doc.Values(t, "Files", 2, 0, 1, map[string]string{
		"magic of a segment":           formattest.Hex(segmentMagic),
		"magic of a checkpoint":        formattest.Hex(checkpointMagic),
		"version":                      strconv.Itoa(segmentVersion),
		"bytes of a segment header":    strconv.Itoa(segmentHeader),
		"bytes of a record header":     strconv.Itoa(recordHeader),
		"bytes of the longest record":  strconv.Itoa(MaxRecord),
		"bytes of the longest epoch":   strconv.Itoa(MaxEpoch),
		"bytes of the largest segment": strconv.Itoa(MaxSegment),
		"the highest file id":          strconv.Itoa(maxID),
	})
	rowindexDoc(t).Values(t, "Files", 2, 0, 1, map[string]string{
		"magic of an index":   formattest.Hex(indexMagic),
		"version":             strconv.Itoa(indexVersion),
		"bytes of the header": strconv.Itoa(indexEntry),
		"bytes of an entry":   strconv.Itoa(indexEntry),
	})
}

func TestDocumentedIndex(t *testing.T) {
	doc := rowindexDoc(t)
	segment := appendSegmentHeader(nil, 0x11121314, testSource)
	sum := highwayhash.Sum128(segment, testKey[:])
	b := appendIndexHeader(nil, 0x11121314, segment, &testKey)
	doc.Layout(t, "Header", 0, b, []field{
		{Name: "magic of an index", Bytes: []byte(indexMagic)},
		{Name: "version", Bytes: u32(indexVersion)},
		{Name: "file id", Bytes: u32(0x11121314)},
		{Name: "hash of the header of the segment", Bytes: sum[:]},
		{Name: "zero", Bytes: make([]byte, 20)},
		{Name: "CRC-32C of bytes 0 to 51", Bytes: u32(checksum(b[:52]))},
	})
	rec, raw := documentedRecord(t)
	id := highwayhash.Sum128(rec.ID, testKey[:])
	ref := uint64(0x51525)<<44 | 0x2666666<<18 | uint64(len(raw)/8)
	var e Entry
	err := testKey.entries(&rec, makeRef(0x51525, 0x2666666*8, int64(len(raw))), &e, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	b = appendEntry(nil, &e)
	doc.Layout(t, "Entry", 0, b, []field{
		{Name: "CRC-32C of bytes 4 to 55", Bytes: u32(checksum(b[4:]))},
		{Name: "kind", Bytes: []byte{2}},
		{Name: "encoding of the vector", Bytes: []byte{2}},
		{Name: "first", Bytes: []byte{1}},
		{Name: "zero", Bytes: []byte{0}},
		{Name: "space number", Bytes: u32(0x11121314)},
		{Name: "size", Bytes: u32(8)},
		{Name: "sequence in the stream", Bytes: u64(0x2122232425262728)},
		{Name: "expiry", Bytes: u64(0x4142434445464748)},
		{Name: "ref of the record", Bytes: u64(ref)},
		{Name: "hash of the id", Bytes: id[:]},
	})
}
