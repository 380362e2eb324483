package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

func at(i int) time.Time { return noon.Add(time.Duration(i) * step) }

// restarting makes a block in which nine stable pods and one canary pod restart at rates an hour.
func restarting(r *rand.Rand, i int, stable, canary float64) Block {
	b := Block{Start: at(i), End: at(i + 1), Metrics: make([]Counts, 1)}
	for p := range 10 {
		rate := stable
		if p == 9 {
			rate = canary
		}
		bad := 0.0
		if rate > 0 {
			bad = distuv.Poisson{Lambda: rate * step.Hours(), Src: r}.Rand()
		}
		t := Tally{Pod: fmt.Sprint(p), Requests: step.Seconds(), Bad: bad}
		if p < 9 {
			b.Metrics[0].Stable = append(b.Metrics[0].Stable, t)
		} else if i >= 0 {
			b.Metrics[0].Canary = []Tally{t}
		}
	}
	return b
}

// The factor of a block has a mean of at most 1 at the rate that is borne: summed over every number of restarts.
func TestRestartRateIsFair(t *testing.T) {
	for _, seconds := range []float64{15, 150, 3000} {
		for _, rate := range []float64{1e-5, 1e-3, 0.02} {
			for _, worse := range []float64{0.3, 1} {
				harmMean, safetyMean := 0.0, 0.0
				for x := range 400 {
					p := distuv.Poisson{Lambda: rate * worse * seconds}.Prob(float64(x))
					h := newHarm()
					h.rate(split{nc: seconds, xc: float64(x)}, rate)
					harmMean += p * h.since(nil)
					f := newSafety(false)
					f.rate(split{nc: seconds, xc: float64(x)}, rate)
					safetyMean += distuv.Poisson{Lambda: rate / worse * seconds}.Prob(float64(x)) * f.value()
				}
				if harmMean > 1+1e-9 || safetyMean > 1+1e-9 {
					t.Errorf("%g s at %g, x%g: harm %.9f, safety %.9f", seconds, rate, worse, harmMean, safetyMean)
				}
			}
		}
	}
}

func TestRestarts(t *testing.T) {
	for name, test := range map[string]struct {
		stable, canary float64 // an hour
		blocks         int
		want           State
		says           string
	}{
		"a canary that leaks":        {0, 30, 80, Halt, "containers of canary pods restarted"},
		"none restarts":              {0, 0, 40, Step, "a crash loop is ruled out"},
		"both restart, for a reason": {30, 30, 80, Watch, ""},
	} {
		halted, stepped := 0, 0
		var text string
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 21))
			e := New(Config{Metrics: []Metric{{Name: "restarts", Kind: Restarts}}})
			for i := -80; i < 0; i++ {
				e.Reference(restarting(r, i, test.stable, 0))
			}
			e.StepAt(at(0), 0.1, 0.5)
			for i := range test.blocks {
				e.Add(restarting(r, i, test.stable, test.canary))
			}
			switch e.State() {
			case Halt:
				halted++
			case Step:
				stepped++
			}
			text = e.Report()[0].Text
		}
		if test.want == Halt && halted < 38 || test.want != Halt && halted > 1 || test.want == Step && stepped < 40 || !strings.Contains(text, test.says) {
			t.Errorf("%s: %d halted and %d stepped of 40: %s", name, halted, stepped, text)
		}
	}
}

// While it is watched, the sentence says how long the proof takes, and it takes about that long.
func TestRestartsSayHowLong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 31))
	e := New(Config{Metrics: []Metric{{Name: "restarts", Kind: Restarts}}})
	for i := -80; i < 0; i++ {
		e.Reference(restarting(r, i, 0, 0))
	}
	e.StepAt(at(0), 0.1, 0.5)
	e.Add(restarting(r, 0, 0, 0))
	e.Add(restarting(r, 1, 0, 0))
	first := e.Report()[0]
	i := 2
	for ; i < 100 && e.State() != Step; i++ {
		e.Add(restarting(r, i, 0, 0))
	}
	took := time.Duration(i-2) * step
	if first.Wait <= 0 || took > 2*first.Wait || took < first.Wait/2 || !strings.Contains(first.Text, "more while nothing changes") {
		t.Errorf("it took %s, and was to take %s: %s", took, first.Wait, first.Text)
	}
}

// levelled makes a block of levels: nine stable pods around 100, and a canary pod at a level.
func levelled(r *rand.Rand, offsets []float64, i int, canary float64) Block {
	b := Block{Start: at(i), End: at(i + 1), Metrics: make([]Counts, 1)}
	for p, o := range offsets {
		t := Tally{Pod: fmt.Sprint(p), Level: 100 * math.Exp(o+0.01*r.NormFloat64()), Levelled: true}
		if p < 9 {
			b.Metrics[0].Stable = append(b.Metrics[0].Stable, t)
		} else if i >= 0 {
			t.Level *= canary
			b.Metrics[0].Canary = []Tally{t}
		}
	}
	return b
}

func TestLevels(t *testing.T) {
	for name, test := range map[string]struct {
		canary func(i int) float64
		want   State
		within float64 // minutes
		says   string
	}{
		"alike":                {func(int) float64 { return 1 }, Step, 20, "2 times as much is ruled out"},
		"a little more":        {func(int) float64 { return 1.15 }, Step, 20, "ruled out"},
		"twice as much":        {func(int) float64 { return 2 }, Halt, 8, "the chance that"},
		"a version that leaks": {func(i int) float64 { return 1 + 0.05*float64(i)/4 }, Halt, 25, "the chance that"}, // 5 % more each minute
	} {
		right, text := 0, ""
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 23))
			offsets := make([]float64, 10)
			for p := range offsets {
				offsets[p] = 0.05 * r.NormFloat64()
			}
			e := New(Config{Metrics: []Metric{{Name: "memory", Kind: Level}}})
			for i := -80; i < 0; i++ {
				e.Reference(levelled(r, offsets, i, 1))
			}
			e.StepAt(at(0), 0.1, 0.5)
			for i := range int(test.within * 4) {
				e.Add(levelled(r, offsets, i, test.canary(i)))
			}
			if e.State() == test.want {
				right++
			}
			text = e.Report()[0].Text
		}
		if right < 38 || !strings.Contains(text, test.says) {
			t.Errorf("%s: %d of 40 are %s: %s", name, right, test.want, text)
		}
	}
}

// At full weight stable's pods are idle: a gauge concludes nothing new, and what was proven before it stands.
func TestLevelsAtFullWeight(t *testing.T) {
	r, offsets := rand.New(rand.NewPCG(1, 29)), make([]float64, 10)
	e := New(Config{Metrics: []Metric{{Name: "memory", Kind: Level}}})
	for i := -80; i < 0; i++ {
		e.Reference(levelled(r, offsets, i, 1))
	}
	e.StepAt(at(0), 0.5, 1)
	for i := range 60 {
		e.Add(levelled(r, offsets, i, 1))
	}
	if e.State() != Step {
		t.Fatalf("before: %s", e.State())
	}
	e.StepAt(at(60), 1, 1)
	for i := 60; i < 120; i++ {
		e.Add(levelled(r, offsets, i, 3))
	}
	if e.State() != Step {
		t.Errorf("at full weight: %s: %s", e.State(), e.Report()[0].Text)
	}
}

// A queue that is empty mostly can be compared with an absolute margin, and says nothing without one.
func TestEmptyQueue(t *testing.T) {
	for _, absolute := range []float64{0, 10} {
		e := New(Config{Metrics: []Metric{{Name: "queue", Kind: Level, Margin: Margin{Absolute: absolute}}}})
		queue := func(i int, canary float64) Block {
			b := Block{Start: at(i), End: at(i + 1), Metrics: []Counts{{Stable: []Tally{{Pod: "a", Levelled: true}, {Pod: "b", Levelled: true}}}}}
			if i >= 0 {
				b.Metrics[0].Canary = []Tally{{Pod: "c", Level: canary, Levelled: true}}
			}
			return b
		}
		for i := -80; i < 0; i++ {
			e.Reference(queue(i, 0))
		}
		for i := range 60 {
			e.Add(queue(i, 400))
		}
		if got, want := e.State(), map[float64]State{0: Watch, 10: Halt}[absolute]; got != want {
			t.Errorf("absolute %g: %s, want %s: %s", absolute, got, want, e.Report()[0].Text)
		}
		if s := e.Safety(); math.IsNaN(s) || math.IsNaN(e.Harm()) {
			t.Errorf("absolute %g: safety %g, harm %g", absolute, s, e.Harm())
		}
	}
}

// The series of a pod are added, and the last sample in a block counts.
func TestBuilderGauge(t *testing.T) {
	b := NewBuilder([]Metric{{Kind: Level}}, noon, step)
	b.Watch(Pod{Name: "p"})
	b.Add([]Series{counter("p", Gauge, "app", points(noon.Add(time.Second), 5, 7)), counter("p", Gauge, "sidecar", points(noon.Add(time.Second), 2, 1)),
		counter("p", Gauge, "app", points(noon.Add(20*time.Second), 9))})
	got := b.Close(noon.Add(2 * step))
	if len(got) != 2 || got[0].Metrics[0].Stable[0].Level != 7 || got[1].Metrics[0].Stable[0].Level != 10 || !got[1].Metrics[0].Stable[0].Levelled {
		t.Errorf("%+v", got)
	}
	empty := NewBuilder([]Metric{{Kind: Restarts}}, noon, step)
	if empty.Close(noon.Add(step)); len(empty.Close(noon.Add(2*step))) != 0 {
		t.Error("blocks without a beginning")
	}
	empty.Begin()
	if n := len(empty.Close(noon.Add(2 * step))); n != 2 {
		t.Errorf("%d blocks after it has begun", n)
	}
}
