package sync

import (
	"fmt"
	"testing"
)

// TestG15_ARecordThatIsUsedAgainIsYoung: the one write that has found it again does not let it go as the oldest, and neither does
// the next.
func TestG15_ARecordThatIsUsedAgainIsYoung(t *testing.T) {
	data := map[string][]byte{"20260101-000000.again": []byte("x")}
	for i := range maxRecords - 1 {
		data[fmt.Sprintf("20260102-0000%02d.r%d", i, i)] = []byte("x")
	}
	fresh := map[string][]byte{"20260103-000000.again": []byte("x"), "20260103-000000.new": []byte("x")}
	add(data, fresh)
	add(data, map[string][]byte{"20260104-000000.newer": []byte("x")})
	for _, key := range []string{"20260103-000000.again", "20260103-000000.new", "20260104-000000.newer"} {
		if data[key] == nil {
			t.Errorf("record %s is gone", key)
		}
	}
	if _, old := data["20260101-000000.again"]; old || len(data) != maxRecords {
		t.Errorf("%d records, the old name of one is there: %v", len(data), old)
	}
	if !SameRecord("20260101-000000.again", "20260103-000000.again") || SameRecord("a.x", "a.y") || SameRecord("a", "b") {
		t.Error("names of one record are those with one digest")
	}
}
