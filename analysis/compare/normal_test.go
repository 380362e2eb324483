package compare

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat/distuv"
)

// The evidence of a few observations is the ratio of densities that gonum computes.
func TestNormalAgreesWithDensities(t *testing.T) {
	y, v := []float64{0.05, -0.01, 0.12}, []float64{0.004, 0.01, 0.006}
	n := &normal{}
	want := 0.0
	for _, d := range shifts {
		ratio := 1.0
		for i := range y {
			sd := math.Sqrt(v[i])
			ratio *= distuv.Normal{Mu: 0.02 + d, Sigma: sd}.Prob(y[i]) / distuv.Normal{Mu: 0.02, Sigma: sd}.Prob(y[i])
		}
		want += ratio / float64(len(shifts))
	}
	for i := range y {
		n.add(y[i], 0.02, v[i], unlimited)
	}
	if got := mixture(n.s, n.w); math.Abs(got/want-1) > 1e-9 {
		t.Errorf("mixture %g, want %g", got, want)
	}
}

// One observation's factor has a mean of at most 1 at the margin and below it, whatever is cut off; by quadrature.
func TestNormalIsFair(t *testing.T) {
	for _, v := range []float64{1e-4, 0.003, 0.1} {
		for _, below := range []float64{0, 0.05, 0.3} {
			sd := math.Sqrt(v)
			factor := func(y float64) float64 {
				n := &normal{}
				n.add(y, 0.14, v, maxIncrement)
				return mixture(n.s, n.w) * distuv.Normal{Mu: 0.14 - below, Sigma: sd}.Prob(y)
			}
			mean := quad.Fixed(factor, 0.14-below-12*sd, 0.14-below+12*sd, 400, quad.Legendre{}, 0)
			if mean > 1+1e-6 {
				t.Errorf("variance %g, %g below the margin: mean %.7f", v, below, mean)
			}
		}
	}
}

// slowPods makes blocks of log-normal durations of nine stable pods and a canary pod that is slower by a factor.
func slowPods(r *rand.Rand, requests int, spread, slower float64, blocks int) []Block {
	speeds := make([]float64, 10)
	for i := range speeds {
		speeds[i] = 0.05 * math.Exp(spread*r.NormFloat64())
	}
	speeds[9] = 0.05 * slower
	var out []Block
	for i := range blocks {
		b := Block{Start: noon.Add(time.Duration(i) * step), Metrics: make([]Counts, 1)}
		for p, speed := range speeds {
			t := Tally{Pod: string(rune('a' + p)), Requests: float64(requests), Summed: true}
			for range requests {
				t.Sum += speed * math.Exp(0.6*r.NormFloat64())
			}
			if p == 9 {
				b.Metrics[0].Canary = []Tally{t}
			} else {
				b.Metrics[0].Stable = append(b.Metrics[0].Stable, t)
			}
		}
		out = append(out, b)
	}
	return out
}

// However often one looks, a canary exactly at the margin is halted for its mean with a probability of at most alpha, though
// variances are estimated and durations are far from normal; and one that is twice as much beyond it is halted soon.
func TestMeansEverHalted(t *testing.T) {
	const alpha, runs = 0.05, 400
	for name, test := range map[string]struct {
		slower      float64
		least, most int
	}{"at the margin": {1.15, 0, int(runs*alpha + 3*math.Sqrt(runs*alpha))}, "well beyond": {1.4, runs * 95 / 100, runs}} {
		r, halted := rand.New(rand.NewPCG(11, 12)), 0
		for range runs {
			m := newMeans()
			for _, b := range slowPods(r, 40, 0, 1, 20) {
				m.learn(b.Metrics[0])
			}
			for i, b := range slowPods(r, 40, 0, test.slower, 40) {
				if i%8 == 7 {
					m.normal.restart()
				}
				m.add(b.Metrics[0], 1.15, noon.Add(-1))
				if m.enough() && m.value() >= 1/alpha {
					halted++
					break
				}
			}
		}
		if halted < test.least || halted > test.most {
			t.Errorf("%s: halted %d of %d, want %d to %d", name, halted, runs, test.least, test.most)
		}
	}
}

// The confidence sequence holds the true ratio at all times at once, and says something.
func TestNormalIntervalCovers(t *testing.T) {
	const alpha, runs, mean = 0.05, 1500, 0.2
	r := rand.New(rand.NewPCG(13, 14))
	missed, width := 0, 0.0
	for range runs {
		n := &normal{}
		for i := range 60 {
			v := 0.01 + 0.02*r.Float64()
			n.add(mean+math.Sqrt(v)*r.NormFloat64(), 0.14, v, maxIncrement)
			low, _, high := n.interval(alpha)
			if mean < low || mean > high {
				missed++
				break
			}
			if i == 59 {
				width += (high - low) / runs
			}
		}
	}
	if most := runs*alpha + 3*math.Sqrt(runs*alpha); float64(missed) > most {
		t.Errorf("missed %d of %d, more than %.0f", missed, runs, most)
	}
	if width > 0.15 {
		t.Errorf("the interval is useless: %.2f wide", width)
	}
}

// The scatter of means finds the variance of a request, and how unlike pods are.
func TestScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, spread := range []float64{0, 0.1} {
		between, request := 0.0, 0.0
		for range 20 {
			m := newMeans()
			for _, b := range slowPods(r, 30, spread, 1, 160) {
				m.learn(b.Metrics[0])
			}
			one, ok := m.scatter.request()
			if !ok {
				t.Fatal("nothing is known after 160 blocks")
			}
			between, request = between+m.scatter.between()/20, request+one/20
		}
		// A log-normal request has a relative variance of exp(0.36)-1; pods that differ add theirs, over their requests.
		if want := math.Exp(0.36) - 1 + 30*spread*spread; math.Abs(request/want-1) > 0.15 {
			t.Errorf("pods differ by %g: variance of a request %.3f, want %.3f", spread, request, want)
		}
		if got := math.Sqrt(between); got > 0.03 && spread == 0 || spread > 0 && (got < 0.06 || got > 0.13) {
			t.Errorf("pods differ by %g, estimated %.3f", spread, got)
		}
	}
}

// Pods that are worse for minutes on end are no chance: dividing by the dispersion is no remedy for them, a wider margin is.
func TestApart(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, test := range []struct {
		drift, cluster, least, most float64
	}{{0, 1, 1, 1.001}, {0, 8, 1, 4}, {1, 1, 3, 60}} {
		d := newDispersion()
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}
		offsets := make([]float64, len(names))
		for i := range offsets {
			offsets[i] = test.drift * r.NormFloat64()
		}
		for range 200 {
			cells := make([]podCount, len(names))
			for i := range cells {
				offsets[i] = 0.97*offsets[i] + test.drift*math.Sqrt(1-0.97*0.97)*r.NormFloat64()
				cells[i] = podCount{1000, min(1000, test.cluster*distuv.Poisson{Lambda: 4 / test.cluster * math.Exp(offsets[i]), Src: r}.Rand())}
			}
			d.add(names, cells)
		}
		phi, far := d.apart()
		if far < test.least || far > test.most || phi > d.phi() {
			t.Errorf("drift %g, clusters of %g: phi %.2f of %.2f, pods apart by %.2f, want %g to %g", test.drift, test.cluster, phi, d.phi(), far, test.least, test.most)
		}
	}
}

// Cold start: durations of a young canary pod are left out, of bounds and means; its errors count.
func TestColdStart(t *testing.T) {
	born := noon
	cfg := Config{Metrics: []Metric{{Name: "errors"}, {Name: "latency", Kind: Latency}}}
	e := New(cfg)
	block := func(i int, slower, bad float64) Block {
		b := Block{Start: noon.Add(time.Duration(i) * step), End: noon.Add(time.Duration(i+1) * step), Metrics: make([]Counts, 2)}
		b.Metrics[1].Bounds = []float64{0.05, 0.1, 0.5, 1}
		for p := range 10 {
			errors := Tally{Pod: string(rune('a' + p)), Born: born, Requests: 1000, Bad: 2 + float64(p%3)}
			l := Tally{Pod: errors.Pod, Born: born, Requests: 1000, Sum: 50 + float64(p%3), Summed: true, Above: []float64{500, 100 + float64(p), 10, 1}}
			if p < 9 {
				b.Metrics[0].Stable, b.Metrics[1].Stable = append(b.Metrics[0].Stable, errors), append(b.Metrics[1].Stable, l)
				continue
			}
			if i >= 0 {
				errors.Bad, l.Sum, l.Above = errors.Bad+bad, l.Sum*slower, []float64{1000, 1000, 900, 500}
				b.Metrics[0].Canary, b.Metrics[1].Canary = []Tally{errors}, []Tally{l}
			}
		}
		return b
	}
	for i := -80; i < 0; i++ {
		e.Reference(block(i, 1, 0))
	}
	for i := range 8 { // two minutes
		e.Add(block(i, 20, 0))
	}
	if h := e.metrics[1].harmValue(); h > 1 || e.metrics[1].means.normal.observed > 0 {
		t.Errorf("slow in its first two minutes: evidence %g, %d observations of its mean", h, e.metrics[1].means.normal.observed)
	}
	for i := 8; i < 16 && e.State() != Halt; i++ {
		e.Add(block(i, 20, 0))
	}
	if e.State() != Halt {
		t.Error("slow after its first two minutes, and not halted")
	}
	e = New(cfg)
	for i := -80; i < 0; i++ {
		e.Reference(block(i, 1, 0))
	}
	for i := range 6 {
		e.Add(block(i, 1, 200))
	}
	if e.State() != Halt {
		t.Error("errors of the first two minutes are left out")
	}
}
