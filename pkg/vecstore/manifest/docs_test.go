package manifest

import (
	"hash/crc32"
	"strconv"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vecstore/rows/formattest"
)

type field = formattest.Field

var u32, u64 = formattest.U32, formattest.U64

func padded(s string, n int) []byte { return append([]byte(s), make([]byte, n-len(s))...) }

func TestDocumented(t *testing.T) {
	doc := formattest.Read(t, "../../../docs/format/manifest.md")
	m := &Manifest{
		Source: rows.Source{Epoch: "the epoch", Shard: 0x21222324, CreatedAt: 0x3132333435363738}, HashKey: demo().HashKey,
		State: Failed, Identity: "the identity",
		Segments: []rows.Segment{{ID: 0x11121, Entries: 0x21222324, Length: 0x11121318}, {ID: 1}}, NextID: 0x11122,
		Columns:  []Columns{{Space: 0x11121314, Generation: 0x21222324, File: "file name", Rows: 0x31323334}},
		Horizons: []Horizon{{Space: 0x11121314, Sequence: 0x2122232425262728}},
		GivenUp:  []Row{{Space: 0x31323334, Sequence: 0x4142434445464748}},
	}
	b := encode(t, m)
	doc.Layout(t, "Header", 0, b[:160], []field{
		{Name: "magic of a manifest", Bytes: []byte(magic)},
		{Name: "version", Bytes: u32(version)},
		{Name: "length of the file", Bytes: u32(uint32(len(b)))},
		{Name: "creation time of the stream", Bytes: u64(0x3132333435363738)},
		{Name: "shard", Bytes: u32(0x21222324)},
		{Name: "length of the epoch", Bytes: u32(9)},
		{Name: "epoch", Bytes: padded("the epoch", 64)},
		{Name: "hash key", Bytes: m.HashKey[:]},
		{Name: "state", Bytes: []byte{3}},
		{Name: "zero", Bytes: make([]byte, 3)},
		{Name: "length of the identity", Bytes: u32(12)},
		{Name: "next file id of the row log", Bytes: u32(0x11122)},
		{Name: "number of segments", Bytes: u32(2)},
		{Name: "number of columns", Bytes: u32(1)},
		{Name: "number of horizons", Bytes: u32(1)},
		{Name: "number of rows given up", Bytes: u32(1)},
		{Name: "zero", Bytes: make([]byte, 4)},
	})
	doc.Layout(t, "Identity", 160, b[160:176], []field{{Name: "identity", Bytes: padded("the identity", 16)}})
	doc.Layout(t, "Segment", 0, b[176:192], []field{
		{Name: "file id", Bytes: u32(0x11121)},
		{Name: "entries of its index", Bytes: u32(0x21222324)},
		{Name: "length", Bytes: u64(0x11121318)},
	})
	doc.Layout(t, "Columns", 0, b[208:248], []field{
		{Name: "space number", Bytes: u32(0x11121314)},
		{Name: "generation of the file", Bytes: u32(0x21222324)},
		{Name: "rows that the file had when the shard was closed", Bytes: u32(0x31323334)},
		{Name: "length of the file name", Bytes: u32(9)},
		{Name: "zero", Bytes: make([]byte, 8)},
		{Name: "file name", Bytes: padded("file name", 16)},
	})
	doc.Layout(t, "Horizon", 0, b[248:264], []field{
		{Name: "space number", Bytes: u32(0x11121314)},
		{Name: "zero", Bytes: u32(0)},
		{Name: "sequence", Bytes: u64(0x2122232425262728)},
	})
	doc.Layout(t, "Row given up", 0, b[264:280], []field{
		{Name: "space number", Bytes: u32(0x31323334)},
		{Name: "zero", Bytes: u32(0)},
		{Name: "sequence of its record", Bytes: u64(0x4142434445464748)},
	})
	doc.Layout(t, "End", 0, b[280:], []field{
		{Name: "zero", Bytes: u32(0)},
		{Name: "CRC-32C of all before it", Bytes: u32(crc32.Checksum(b[:len(b)-4], castagnoli))},
	})
	states := map[string]string{}
	for s := Clean; s <= Failed; s++ {
		states[s.String()] = strconv.Itoa(int(s))
	}
	doc.Values(t, "State", 3, 1, 0, states)
	doc.Values(t, "Files", 2, 0, 1, map[string]string{
		"magic of a manifest":            formattest.Hex(magic),
		"version":                        strconv.Itoa(version),
		"bytes of the header":            strconv.Itoa(header),
		"bytes of the longest epoch":     strconv.Itoa(rows.MaxEpoch),
		"bytes of the longest identity":  strconv.Itoa(maxIdentity),
		"bytes of the longest file name": strconv.Itoa(maxFile),
		"bytes of the longest manifest":  strconv.Itoa(maxLength),
	})
}
