package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat/distuv"
)

// course of events: n requests a block of each of nine stable pods, and as many of one canary pod.
type course struct {
	r                  *rand.Rand
	n, stable, canary  float64
	block              int
	noCanary, noStable bool
}

func newCourse(seed uint64, n float64) *course {
	return &course{r: rand.New(rand.NewPCG(seed, 9)), n: n, stable: 0.01, canary: 0.01}
}

func (c *course) next() Block {
	poisson := func(mean float64) float64 {
		if mean == 0 {
			return 0
		}
		return distuv.Poisson{Lambda: mean, Src: c.r}.Rand()
	}
	b := Block{Start: noon.Add(time.Duration(c.block) * step), End: noon.Add(time.Duration(c.block+1) * step), Metrics: make([]Counts, 1)}
	c.block++
	pod := func(name string, share float64) Tally {
		bad := poisson(c.n * share)
		return Tally{Pod: name, Bad: bad, Requests: bad + poisson(c.n*(1-share))}
	}
	if !c.noStable {
		for i := range 9 {
			b.Metrics[0].Stable = append(b.Metrics[0].Stable, pod(fmt.Sprint(i), c.stable))
		}
	}
	if !c.noCanary {
		b.Metrics[0].Canary = []Tally{pod("canary", c.canary)}
	}
	return b
}

func (c *course) run(e *Engine, blocks int) State {
	for range blocks {
		e.Add(c.next())
		if s := e.State(); s == Halt || s == Step {
			return s
		}
	}
	return e.State()
}

func (c *course) reference(e *Engine) {
	c.noCanary = true
	for range 80 {
		e.Reference(c.next())
	}
	c.noCanary = false
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*course)
		blocks int
		want   State
		says   string
	}{
		{"as good", nil, 40, Step, "an excess of 5 % is ruled out"},
		{"much worse", func(c *course) { c.canary = 0.3 }, 10, Halt, "times its share"},
		{"nothing works", func(c *course) { c.canary = 1 }, 2, Halt, "canary requests were bad"},
		{"at first neither", func(c *course) { c.n = 20 }, 2, Watch, "neither harm nor safety is proven, about"},
		{"proven, and too early", nil, 6, Watch, "an excess of 5 % is ruled out"},
		{"no canary traffic", func(c *course) { c.noCanary = true }, 200, Watch, "no canary request was measured"},
		{"no traffic at all", func(c *course) { c.noCanary, c.noStable = true, true }, 200, Watch, "no canary request"},
		{"stable is broken", func(c *course) { c.stable, c.canary = 0.6, 0.6 }, 100, Hold, "stable itself is broken: "},
		{"stable is broken, and the canary more", func(c *course) { c.stable, c.canary = 0.6, 0.95 }, 100, Hold, "nothing is concluded"},
		{"a brown-out of both", func(c *course) { c.stable, c.canary = 0.1, 0.1 }, 40, Step, "ruled out"},
		{"worse in a brown-out", func(c *course) { c.stable, c.canary = 0.1, 0.3 }, 40, Halt, "times its share"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, e := newCourse(11, 200), New(Config{Metrics: []Metric{{Name: "errors", Objective: 0.5}}})
			c.reference(e)
			e.StepAt(noon.Add(time.Duration(c.block)*step), 0.05, 0.1)
			if test.change != nil {
				test.change(c)
			}
			got := c.run(e, test.blocks)
			if text := e.Report()[0].Text; got != test.want || !strings.Contains(text, test.says) {
				t.Errorf("%s after %d blocks, want %s: %s", got, e.blocks, test.want, text)
			}
		})
	}
}

// Halt is final; evidence of harm outlives a step, and that of safety does not.
func TestEvidenceAcrossSteps(t *testing.T) {
	c, e := newCourse(3, 200), New(Config{Metrics: []Metric{{Name: "errors"}}})
	c.reference(e)
	if c.run(e, 100) != Step {
		t.Fatal("the first step is not proven")
	}
	e.StepAt(e.at, 0.1, 0.5)
	if e.Safety() != 1 || e.State() != Watch {
		t.Errorf("safety of a step that just began: %g, %s", e.Safety(), e.State())
	}
	c.canary = 0.05
	before := e.Harm()
	for range 3 {
		e.Add(c.next())
	}
	middle := e.Harm()
	e.StepAt(e.at, 0.5, 1)
	if middle <= before || e.Harm() < 0.4*middle {
		t.Errorf("harm %g, then %g, after the step %g", before, middle, e.Harm())
	}
	if c.run(e, 100) != Halt {
		t.Fatal("it is not halted")
	}
	c.canary = 0
	for range 400 {
		e.Add(c.next())
	}
	if e.State() != Halt {
		t.Errorf("a halt was taken back: %s", e.State())
	}
}

// At full weight there is nobody to share the blame with: a minute in which much fails holds the step up, and not for an hour.
func TestTroubleAtFullWeight(t *testing.T) {
	const most = 10 * time.Minute
	for _, share := range []float64{0.05, 0.3, 0.9} {
		c, e := newCourse(1, 250), New(Config{Metrics: []Metric{{Name: "errors", Kind: Errors}}})
		c.stable, c.canary = 0.003, 0.003
		c.reference(e)
		e.StepAt(noon.Add(time.Duration(c.block)*step), 0.5, 1)
		if got := c.run(e, 200); got != Step {
			t.Fatalf("half: %s", got)
		}
		e.StepAt(noon.Add(time.Duration(c.block)*step), 1, 1)
		c.noStable, c.n, c.canary = true, 750, share
		if got := c.run(e, 4); got != Watch {
			t.Fatalf("while %g of the requests fail: %s", share, got)
		}
		from, text := c.block, e.Report()[0].Text
		c.canary = 0.003
		got := c.run(e, 400)
		took := time.Duration(c.block-from) * step
		t.Logf("a minute of %g: %s after %s; %s", share, got, took, text)
		if got != Step || took > most {
			t.Errorf("a minute of %g: %s after %s, want Step within %s", share, got, took, most)
		}
	}
}

// What breaks for everybody, so that less is asked of either, halts nothing: two such blocks, while stable's last four still look well,
// or more of them. When it is over, the canary is proven.
func TestSharedOutage(t *testing.T) {
	for _, objective := range []float64{0, 0.5, 0.9} {
		for _, blocks := range []int{2, 4, 20} {
			c, e := newCourse(7, 150), New(Config{Metrics: []Metric{{Name: "errors", Objective: objective}}})
			c.reference(e)
			e.StepAt(noon.Add(time.Duration(c.block)*step), 0.1, 0.5)
			c.run(e, 4)
			c.n, c.stable, c.canary = 40, 1, 1
			got := c.run(e, blocks)
			text := e.Report()[0].Text
			if got == Halt || objective > 0 && got == Step {
				t.Errorf("objective %g, %d blocks: %s: %s", objective, blocks, got, text)
			}
			c.n, c.stable, c.canary = 150, 0.01, 0.01
			if got := c.run(e, 400); got != Step {
				t.Errorf("objective %g, after %d blocks: %s: %s", objective, blocks, got, e.Report()[0].Text)
			}
		}
	}
}

// One burst, however large, does not halt.
func TestOneBurst(t *testing.T) {
	c, e := newCourse(5, 1000), New(Config{Metrics: []Metric{{Name: "errors"}}})
	c.reference(e)
	b := c.next()
	b.Metrics[0].Canary[0].Bad = 400
	e.Add(b)
	if got := c.run(e, 8); got == Halt {
		t.Errorf("halted by one block: %s", e.Report()[0].Text)
	}
}

// Metrics that only advise decide nothing.
func TestAdvisory(t *testing.T) {
	c, e := newCourse(5, 1000), New(Config{Metrics: []Metric{{Name: "errors", Advisory: true}}})
	c.reference(e)
	c.canary = 0.9
	if got := c.run(e, 20); got == Halt || e.Report()[0].Harm < 100 {
		t.Errorf("%s, harm %g", got, e.Report()[0].Harm)
	}
}

// The same blocks give the same bits.
func TestSameBits(t *testing.T) {
	judge := func() ([]Report, uint64, uint64) {
		c, e := newCourse(8, 50), New(Config{Metrics: []Metric{{Name: "errors"}}})
		c.reference(e)
		c.canary = 0.02
		for i := range 200 {
			if i%30 == 0 {
				e.StepAt(noon.Add(time.Duration(c.block)*step), 0.1, 0.5)
			}
			e.Add(c.next())
		}
		return e.Report(), math.Float64bits(e.Harm()), math.Float64bits(e.Safety())
	}
	report, harm, safety := judge()
	for range 5 {
		r, h, s := judge()
		if h != harm || s != safety || !cmp.Equal(r, report) {
			t.Fatalf("%x %x, then %x %x", harm, safety, h, s)
		}
	}
}

// What planning says is what it takes, on average, within a factor of two.
func TestPlanning(t *testing.T) {
	cfg := Config{Metrics: []Metric{{Name: "errors"}}}
	for _, test := range []struct {
		weight, excess, want float64 // from the specification
	}{{0.05, 0.005, 8831}, {0.05, 0.01, 1883}, {0.1, 0.05, 175}, {0.25, 0.2, 57}, {0.5, 0.01, 6104}} {
		if got := ToHalt(cfg, 0, Question{Stable: 0.002, Weight: test.weight}, test.excess); math.Abs(got/test.want-1) > 0.02 {
			t.Errorf("to halt +%g at %g: %.0f requests, want %.0f", test.excess, test.weight, got, test.want)
		}
	}
	for next, want := range map[float64]float64{0.1: 131, 0.25: 379, 0.5: 904, 1: 2331} {
		if got := ToStep(cfg, 0, Question{Stable: 0.002}, next); math.Abs(got/want-1) > 0.02 {
			t.Errorf("to step to %g: %.0f requests, want %.0f", next, got, want)
		}
	}
	if got := ToHalt(cfg, 0, Question{Stable: 0.01, Weight: 0.1}, 0.001); !math.IsInf(got, 1) {
		t.Errorf("what is within the margin is never halted: %g", got)
	}
	took, planned := 0.0, ToHalt(cfg, 0, Question{Stable: 0.01, Dispersion: 1, Weight: 0.1}, 0.04)
	for seed := range uint64(40) {
		c, e := newCourse(seed, 20), New(cfg)
		c.reference(e)
		c.canary = 0.05
		for e.blocks < 2000 && e.State() != Halt {
			e.Add(c.next())
		}
		took += e.Report()[0].CanaryRequests / 40
	}
	if took < planned/2 || took > planned*2 {
		t.Errorf("it took %.0f requests, planned were %.0f", took, planned)
	}
}

// busy makes blocks of 20 stable pods and two canary pods: errors, and a latency metric of 11 buckets with its sum.
type busy struct{ blocks []Block }

func newBusy() *busy {
	bounds := []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	r := rand.New(rand.NewPCG(1, 1))
	out := &busy{}
	for range 64 {
		b := Block{Metrics: make([]Counts, 2)}
		b.Metrics[1].Bounds = bounds
		for p := range 22 {
			above := make([]float64, len(bounds))
			for k := range above {
				above[k] = math.Floor(1000 * math.Pow(0.5, float64(k)))
			}
			e, l := Tally{Pod: fmt.Sprint(p), Requests: 1000, Bad: float64(r.IntN(9))}, Tally{Pod: fmt.Sprint(p), Requests: 1000, Above: above, Sum: 50 + r.Float64(), Summed: true}
			if p < 20 {
				b.Metrics[0].Stable, b.Metrics[1].Stable = append(b.Metrics[0].Stable, e), append(b.Metrics[1].Stable, l)
			} else {
				b.Metrics[0].Canary, b.Metrics[1].Canary = append(b.Metrics[0].Canary, e), append(b.Metrics[1].Canary, l)
			}
		}
		out.blocks = append(out.blocks, b)
	}
	return out
}

func (s *busy) at(i int) Block {
	b := s.blocks[i%64]
	b.Start, b.End = noon.Add(time.Duration(i)*step), noon.Add(time.Duration(i+1)*step)
	return b
}

// hour is an engine an hour after the beginning.
func (s *busy) hour() *Engine {
	e := New(Config{Metrics: []Metric{{Name: "errors"}, {Name: "latency", Kind: Latency}}})
	for i := range 64 {
		e.Reference(s.at(i))
	}
	for i := range 240 {
		e.Add(s.at(i))
	}
	return e
}

// BenchmarkBlock is the cost of a block of 20 stable pods, an hour after the beginning. The goal is 2 ms.
func BenchmarkBlock(b *testing.B) {
	s := newBusy()
	e := s.hour()
	b.ReportAllocs()
	for i := 240; b.Loop(); i++ {
		e.Add(s.at(i))
		e.State()
	}
}

// BenchmarkBuilderBlock is the cost of making such a block of raw samples: 20 stable pods and two canary pods, 286 series.
func BenchmarkBuilderBlock(b *testing.B) {
	builder := NewBuilder([]Metric{{Kind: Errors}, {Kind: Latency}}, noon, step)
	var series []Series
	for p := range 22 {
		name := fmt.Sprintf("pod-%02d", p)
		builder.Watch(Pod{Name: name, Canary: p >= 20})
		add := func(metric int, part Part, bound float64, id string) {
			series = append(series, Series{Metric: metric, Part: part, Bound: bound, Pod: name, ID: name + id, Source: "job", Points: make([]Point, 1)})
		}
		add(0, Total, 0, "/total")
		for k := range 11 {
			add(1, Bucket, math.Pow(2, float64(k))/100, fmt.Sprintf("/le-%02d", k))
		}
		add(1, Bucket, math.Inf(1), "/le-inf")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for k := range series {
			series[k].Points[0] = Point{At: noon.Add(time.Duration(i)*step + time.Second), Value: float64(1000 * i)}
		}
		builder.Add(series)
		builder.Close(noon.Add(time.Duration(i+1) * step))
	}
}

// An engine keeps at most 64 KiB of state for a rollout with 20 stable pods. (What the builder keeps of each series, its last
// sample and its name, comes beside it.)
func TestState(t *testing.T) {
	const engines, most = 64, 64 << 10
	s, kept := newBusy(), make([]*Engine, 0, engines)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range engines {
		kept = append(kept, s.hour())
	}
	each := (float64(heap()) - float64(before)) / engines
	runtime.KeepAlive(kept)
	runtime.KeepAlive(s)
	t.Logf("%.1f KiB for each rollout", each/1024)
	if each > most {
		t.Errorf("%.0f bytes for each rollout, at most %d are wanted", each, most)
	}
}
