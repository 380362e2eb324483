package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// The factor of one block has a mean of at most 1 wherever the canary is within the margin, whatever stable's share is and whatever
// earlier blocks said of it: enumerated over every outcome.
func TestAbsoluteIsFair(t *testing.T) {
	for _, nc := range []int{1, 3, 25} {
		for _, ns := range []int{1, 10, 40} {
			for _, ps := range []float64{1e-6, 0.001, 0.02, 0.2, 0.5} {
				for _, margin := range []float64{0.001, 0.05} {
					for _, believed := range []float64{1e-6, 0.01, 0.5} {
						value := func(s split) float64 {
							a := newAbsolute()
							a.add(s, 1.3, margin, believed, 1)
							return a.since(nil)
						}
						edge := 1.3*ps + margin
						for _, pc := range []float64{edge, edge / 2, margin, 1e-6} {
							if e := mean(nc, ns, math.Min(pc, 1-1e-9), ps, value); e > 1+1e-9 {
								t.Errorf("nc %d, ns %d, stable %g (taken for %g), margin %g, canary %g: mean %.9f", nc, ns, ps, believed, margin, pc, e)
							}
						}
					}
				}
			}
		}
	}
	value := func(s split) float64 {
		a := newAbsolute()
		a.add(s, 1.3, 0.001, 1e-6, 1)
		return a.since(nil)
	}
	if e := mean(25, 40, 0.2, 1e-6, value); e < 2 {
		t.Errorf("a canary with 20 %% over a stable without any gives no evidence: mean %g", e)
	}
}

// The greatest likelihood within the margin is found: no point of a fine grid has more, and one has nearly as much.
func TestWithinMargin(t *testing.T) {
	for _, s := range []split{{300, 15, 2700, 0}, {300, 15, 2700, 5}, {100, 100, 50, 1}, {10, 0, 10, 0}, {50, 2, 400, 300}, {1, 1, 1, 0}, {1000, 3, 9000, 9000}} {
		for _, margin := range []float64{0.001, 0.02} {
			got, best := withinMargin(s, 1.3, margin), math.Inf(-1)
			const grid = 2000
			for i := range grid {
				p := math.Pow(1e-9, 1-float64(i)/(grid-1))
				for k := range 60 {
					best = math.Max(best, likelihood(s, math.Min(1-1e-12, 1.3*p+margin)*math.Pow(1e-4, float64(k)/60), math.Min(p, 1-1e-12)))
				}
			}
			if got < best-1e-9 || got > best+0.2 {
				t.Errorf("%v, margin %g: %.6f, by the grid %.6f", s, margin, got, best)
			}
		}
	}
}

// A stable that has not had one error in twenty minutes, and a canary of which 5 % fail at a tenth of the traffic: who had the errors
// tells next to nothing, how many there are tells all.
func TestStableWithoutErrors(t *testing.T) {
	for _, test := range []struct {
		canary float64
		want   State
		within int // blocks
	}{{0.05, Halt, 3}, {0.02, Halt, 4}, {0.0005, Step, 40}, {0, Step, 40}} {
		c, e := newCourse(7, 300), New(Config{Metrics: []Metric{{Name: "errors"}, {Name: "more errors"}}})
		c.stable, c.canary = 0, test.canary
		both := func(b Block) Block { b.Metrics = append(b.Metrics, b.Metrics[0]); return b }
		c.noCanary = true
		for range 80 {
			e.Reference(both(c.next()))
		}
		c.noCanary = false
		blocks := 0
		for blocks < 60 && e.State() == Watch {
			e.Add(both(c.next()))
			blocks++
		}
		if got := e.State(); got != test.want || blocks > test.within {
			t.Errorf("%g of the canary's requests are bad: %s after %d blocks, want %s within %d: %s", test.canary, got, blocks, test.want, test.within, e.Report()[0].Text)
		}
	}
}

// A canary at the edge of the margin, beside a stable whose share moves, is halted with a probability of at most alpha, however long
// one looks. The shares of both move together, by a factor of ten.
func TestAbsoluteOverTime(t *testing.T) {
	const runs, blocks, alpha = 600, 150, 0.05
	r := rand.New(rand.NewPCG(5, 8))
	draw := func(n, p float64) float64 { return distuv.Binomial{N: n, P: p, Src: r}.Rand() }
	halted := 0
	for range runs {
		a, stable := newAbsolute(), recent{}
		level := 0.0
		for i := range blocks {
			level = 0.95*level + 0.3*r.NormFloat64()
			p := math.Min(0.2, 0.0005*math.Exp(level))
			s := split{100, draw(100, 1.3*p+0.001), 900, draw(900, p)}
			if i%8 == 7 {
				a.restart()
			}
			a.add(s, 1.3, 0.001, stable.worse(), 1)
			stable.add(s.ns, s.xs)
			if a.value() >= 1/alpha {
				halted++
				break
			}
		}
	}
	if most := alpha*runs + 3*math.Sqrt(alpha*runs); float64(halted) > most {
		t.Errorf("%d of %d were halted, want at most %.0f", halted, runs, most)
	}
}
