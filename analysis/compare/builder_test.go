package compare

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const step = 15 * time.Second

func points(from time.Time, values ...float64) []Point {
	var out []Point
	for i, v := range values {
		out = append(out, Point{At: from.Add(time.Duration(i) * step), Value: v})
	}
	return out
}

func counter(pod string, part Part, id string, p []Point) Series {
	return Series{Pod: pod, Part: part, ID: pod + id, Source: "job", Points: p}
}

// tallies of the error metric, as text-free values: requests and bad of each block from the first on.
func tallies(blocks []Block, canary bool) [][2]float64 {
	var out [][2]float64
	for _, b := range blocks {
		list := b.Metrics[0].Stable
		if canary {
			list = b.Metrics[0].Canary
		}
		sum := [2]float64{}
		for _, t := range list {
			sum[0], sum[1] = sum[0]+t.Requests, sum[1]+t.Bad
		}
		out = append(out, sum)
	}
	return out
}

func TestBuilder(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	old := Pod{Name: "p", Created: noon.Add(-time.Hour)}
	fresh := Pod{Name: "p", Created: noon.Add(5 * time.Second)}
	at := noon.Add(time.Second) // scrapes are one second after each block's beginning
	for _, test := range []struct {
		name   string
		pod    Pod
		series []Series
		want   [][2]float64
	}{
		{"differences", old, []Series{counter("p", Total, "", points(at, 100, 110, 130, 130))}, [][2]float64{{0, 0}, {10, 0}, {20, 0}, {0, 0}}},
		{"a young pod begins at 0", fresh, []Series{counter("p", Total, "", points(at.Add(step), 4, 6)), counter("q", Total, "", points(at, 1))}, [][2]float64{{0, 0}, {4, 0}, {2, 0}}},
		{"a reset", old, []Series{counter("p", Total, "", points(at, 100, 110, 3, 5))}, [][2]float64{{0, 0}, {10, 0}, {3, 0}, {2, 0}}},
		{"a code that appears", old, []Series{counter("p", Total, "200", points(at, 100, 110, 120)), counter("p", Total, "500", points(at.Add(step), 1, 3)),
			counter("p", Bad, "500", points(at.Add(step), 1, 3))}, [][2]float64{{0, 0}, {11, 1}, {12, 2}}},
		{"a missing scrape", old, []Series{counter("p", Total, "", append(points(at, 100), points(at.Add(2*step), 130)...))}, [][2]float64{{0, 0}, {0, 0}, {30, 0}}},
		{"no numbers", old, []Series{counter("p", Total, "", points(at, 100, nan, inf, -5, 130))}, [][2]float64{{0, 0}, {0, 0}, {0, 0}, {0, 0}, {30, 0}}},
		{"scraped twice", old, []Series{counter("p", Total, "", points(at, 100, 110)), {Pod: "p", ID: "other", Source: "job2", Points: points(at, 100, 110)}}, [][2]float64{{0, 0}, {10, 0}}},
		{"not watched", old, []Series{counter("q", Total, "", points(at, 100, 110)), counter("p", Total, "", points(at, 1, 2))}, [][2]float64{{0, 0}, {1, 0}}},
	} {
		b := NewBuilder([]Metric{{}}, noon, step)
		b.Watch(test.pod, Pod{Name: "r"})
		if test.name == "a young pod begins at 0" {
			b.Watch(Pod{Name: "q", Created: noon.Add(-time.Hour), Canary: true})
		}
		b.Add(test.series)
		until := noon.Add(time.Duration(len(test.want)) * step)
		if got := tallies(b.Close(until), false); !cmp.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
		if again := b.Close(until); len(again) > 0 {
			t.Errorf("%s: blocks were given twice", test.name)
		}
	}
}

// It does not matter in how many pieces samples come, as long as each block is closed after its samples.
func TestBuilderInPieces(t *testing.T) {
	values := []float64{5, 9, 9, 20, 2, 8, 8, 30}
	whole := NewBuilder([]Metric{{}}, noon, step)
	whole.Watch(Pod{Name: "p"})
	whole.Add([]Series{counter("p", Total, "", points(noon.Add(time.Second), values...))})
	want := whole.Close(noon.Add(8 * step))
	pieces := NewBuilder([]Metric{{}}, noon, step)
	pieces.Watch(Pod{Name: "p"})
	var got []Block
	for i := range values {
		from := max(0, i-2) // samples that were seen already come again
		pieces.Add([]Series{counter("p", Total, "", points(noon.Add(time.Duration(from)*step+time.Second), values[from:i+1]...))})
		got = append(got, pieces.Close(noon.Add(time.Duration(i+1)*step))...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuilderLate(t *testing.T) {
	b := NewBuilder([]Metric{{}}, noon, step)
	b.Watch(Pod{Name: "p"}, Pod{Name: "q"})
	b.Add([]Series{counter("p", Total, "", points(noon.Add(time.Second), 1, 2)), counter("q", Total, "", points(noon.Add(time.Second), 1))})
	b.Close(noon.Add(2 * step))
	b.Add([]Series{counter("q", Total, "", points(noon.Add(time.Second+step), 8))})
	if got := tallies(b.Close(noon.Add(3*step)), false); !cmp.Equal(got, [][2]float64{{7, 0}}) {
		t.Errorf("a late sample: %v", got)
	}
}

func TestBuilderHistogram(t *testing.T) {
	bucket := func(pod string, bound float64, values ...float64) Series {
		s := counter(pod, Bucket, time.Duration(bound*float64(time.Second)).String(), points(noon.Add(time.Second), values...))
		s.Bound = bound
		return s
	}
	b := NewBuilder([]Metric{{Kind: Latency}}, noon, step)
	b.Watch(Pod{Name: "p"}, Pod{Name: "c", Canary: true})
	b.Add([]Series{bucket("p", 0.1, 0, 50), bucket("p", 0.2, 0, 70), bucket("p", 1, 0, 90), bucket("p", math.Inf(1), 0, 100),
		bucket("c", 0.1, 0, 5), bucket("c", 0.5, 0, 6), bucket("c", 1, 0, 8), bucket("c", math.Inf(1), 0, 9)})
	got := b.Close(noon.Add(2 * step))[1].Metrics[0]
	want := Counts{Bounds: []float64{0.1, 1}, Stable: []Tally{{Pod: "p", Requests: 100, Above: []float64{50, 10}}}, Canary: []Tally{{Pod: "c", Requests: 9, Above: []float64{4, 1}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bounds that only one arm has are left out: %s", diff)
	}
}

// Whatever is scraped, blocks hold no negative, infinite or undefined counts, and the engine bears them.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Add([]byte("a counter that goes down, and up, and is not a number"))
	f.Fuzz(func(t *testing.T, data []byte) {
		metrics := []Metric{{Kind: Errors}, {Kind: Latency}, {Kind: Level}}
		b, e := NewBuilder(metrics, noon, step), New(Config{Metrics: metrics})
		b.Watch(Pod{Name: "a"}, Pod{Name: "b", Created: noon}, Pod{Name: "c", Canary: true, Created: noon, Born: noon})
		for at := noon; len(data) >= 12; data = data[12:] {
			at = at.Add(time.Duration(int8(data[0])) * time.Second)
			s := Series{Metric: int(data[1] % 4), Part: Part(data[2] % 5), Bound: float64(data[3]) / 10, Pod: string('a' + rune(data[1]%4)), ID: string(data[2:4]), Source: string('j' + rune(data[0]%2))}
			if data[3]%4 == 0 {
				s.Bound = math.Inf(1)
			}
			s.Points = []Point{{At: at, Value: math.Float64frombits(binary.LittleEndian.Uint64(data[4:12]))}, {At: at.Add(step), Value: float64(data[4])}}
			b.Add([]Series{s})
			for _, block := range b.Close(at.Add(-step)) {
				for _, c := range block.Metrics {
					for _, tally := range append(c.Canary, c.Stable...) {
						for _, x := range append([]float64{tally.Requests, tally.Bad, tally.Sum, tally.Level}, tally.Above...) {
							if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
								t.Fatalf("a count of %v", x)
							}
						}
					}
				}
				e.Add(block)
			}
		}
		if h, s := e.Harm(), e.Safety(); math.IsNaN(h) || math.IsNaN(s) {
			t.Fatalf("harm %v, safety %v", h, s)
		}
		e.Report()
	})
}
