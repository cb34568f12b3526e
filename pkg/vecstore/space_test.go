package vecstore

import "testing"

// TestReaderBetweenTwoStores stands where a reader can: after a replacement has entered the id and before it has
// published the row.
func TestReaderBetweenTwoStores(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	fill(t, s, 5)
	again := observeTest(6)
	again.ID = "3"
	put(t, s, again)
	sp, _ := s.space("s")
	sp.rows.Store(sp.rows.Load() - 1)

	rows, err := s.Get("s", []string{"3", "4"}, testTime)
	if err != nil || len(rows) != 2 || rows[0].Sequence != 6 || rows[1].Sequence != 4 {
		t.Errorf("Get = %+v, %v", rows, err)
	}
	for _, k := range []int{1, 2, 3, 10} {
		res, err := s.Search("s", Query{ID: "3", K: k, MinScore: -1e9, Now: testTime})
		if err != nil || len(res.Rows) != min(k, 3) {
			t.Fatalf("a search by id for %d = %d hits, %v", k, len(res.Rows), err)
		}
		for _, row := range res.Rows {
			if row.ID == "3" {
				t.Errorf("a search by id for %d returned the observation itself, at %d", k, row.Sequence)
			}
		}
	}
	rows, _, err = s.List("s", 0, 10, testTime)
	if err != nil || len(rows) != 4 || rows[2].Sequence != 3 {
		t.Errorf("List = %+v, %v; want the version before", rows, err)
	}
}

// TestLateForgetsArePruned checks that tombstones do not stay once everything below them is applied.
func TestLateForgetsArePruned(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 9)
	forget := &Event{Sequence: 10, Kind: KindForget, Space: "s", IDs: []string{"3", "nobody"}}
	put(t, s, forget)
	sp, _ := s.space("s")
	if len(sp.tombs) != 2 {
		t.Fatalf("%d tombstones after a forget of 2 ids", len(sp.tombs))
	}
	next := observeTest(11)
	if err := s.Appender().Add(next); err != nil {
		t.Fatal(err)
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	for applied, want := range map[uint64]int{9: 2, 10: 0} {
		sp.tombs[s.hasher.key("3")], sp.tombs[s.hasher.key("nobody")] = 10, 10
		if _, err := s.Apply([]*Event{next}, applied); err != nil {
			t.Fatal(err)
		}
		if len(sp.tombs) != want {
			t.Errorf("%d tombstones of 10 when %d is applied, want %d", len(sp.tombs), applied, want)
		}
	}
	s = openTest(t, dir, Options{})
	if sp, _ := s.space("s"); len(sp.tombs) != 0 {
		t.Errorf("%d tombstones after a replay", len(sp.tombs))
	}
}

// TestLateDefinitionStaysDropped: a gateway that lagged behind may write the definition of a life that is over.
func TestLateDefinitionStaysDropped(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 3)
	def, _ := s.Definition("s")
	put(t, s, &Event{Sequence: 100, Kind: KindDrop, Space: "s", Generation: def.Generation})
	put(t, s, &Event{Sequence: 101, Kind: KindDefine, Space: "s", Definition: &def})
	if _, ok := s.Definition("s"); ok {
		t.Error("a late definition of a dropped generation brought the space back")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	put(t, s, &Event{Sequence: 102, Kind: KindDefine, Space: "s", Definition: &def})
	if _, ok := s.Definition("s"); ok {
		t.Error("the same after a replay")
	}
	next := def
	next.Generation++
	put(t, s, &Event{Sequence: 103, Kind: KindDefine, Space: "s", Definition: &next})
	if got, ok := s.Definition("s"); !ok || got.Generation != next.Generation {
		t.Errorf("the next generation: %+v, %t", got, ok)
	}
}
