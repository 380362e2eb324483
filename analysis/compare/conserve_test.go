package compare

import (
	"slices"
	"testing"
	"time"
)

// FuzzBuilderConserves: however scrapes come, late, in pieces or again, and whenever blocks are closed, all blocks together hold
// exactly what the counter has counted: nothing is lost, and nothing counts twice.
func FuzzBuilderConserves(f *testing.F) {
	f.Add([]byte{10, 5, 20, 7, 90, 255, 1, 0, 15, 3})
	f.Add([]byte{1, 1, 1, 1, 1, 1, 200, 9, 255, 255, 255, 255, 30, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewBuilder([]Metric{{}}, noon, step)
		b.Watch(Pod{Name: "p", Created: noon.Add(-time.Hour)})
		at, value, want, got := noon, 1000.0, 0.0, 0.0
		points := []Point{{At: at, Value: value}}
		b.Add([]Series{{Pod: "p", ID: "p", Points: slices.Clone(points)}})
		sent := 1
		count := func(blocks []Block) {
			for _, block := range blocks {
				for _, tally := range block.Metrics[0].Stable {
					got += tally.Requests
				}
			}
		}
		for ; len(data) >= 2; data = data[2:] {
			at = at.Add(time.Duration(1+int(data[0])%60) * time.Second)
			if data[1] == 255 && value > 7 { // a restart: it begins again at 0, and has counted 7; one that has counted more than before is not seen
				value, want = 7, want+7
			} else {
				value, want = value+float64(data[1]), want+float64(data[1])
			}
			points = append(points, Point{At: at, Value: value})
			if data[0]%3 == 0 { // this scrape is seen with the next one
				continue
			}
			b.Add([]Series{{Pod: "p", ID: "p", Points: slices.Clone(points[max(0, sent-3):])}}) // some were seen before
			sent = len(points)
			if data[0]%4 == 0 {
				count(b.Close(at.Add(-time.Duration(data[1]%30) * time.Second)))
			}
		}
		b.Add([]Series{{Pod: "p", ID: "p", Points: slices.Clone(points)}})
		count(b.Close(at.Add(time.Hour)))
		if got != want {
			t.Fatalf("counted %g of %g", got, want)
		}
	})
}
