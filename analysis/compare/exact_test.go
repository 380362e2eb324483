package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/combin"
	"gonum.org/v1/gonum/stat/distuv"
)

// binomial probabilities of 0..n.
func binomial(n int, p float64) []float64 {
	out := make([]float64, n+1)
	for k := range out {
		out[k] = math.Exp(combin.LogGeneralizedBinomial(float64(n), float64(k)) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	return out
}

// mean of a value over every outcome of a block of independent requests, exactly.
func mean(nc, ns int, pc, ps float64, value func(split) float64) float64 {
	canary, stable := binomial(nc, pc), binomial(ns, ps)
	e := 0.0
	for xc, a := range canary {
		for xs, b := range stable {
			e += a * b * value(split{float64(nc), float64(xc), float64(ns), float64(xs)})
		}
	}
	return e
}

// The factor of one block has a mean of at most 1 where the canary is no worse than the ratio, and above 1 where it is much
// worse: enumerated over every outcome.
func TestHarmIsFair(t *testing.T) {
	for _, nc := range []int{1, 3, 10, 25} {
		for _, ns := range []int{1, 10, 40} {
			for _, ps := range []float64{0.001, 0.02, 0.2, 0.5} {
				for _, ratio := range []float64{1, 1.3, 1.8} {
					value := func(s split) float64 {
						h := newHarm()
						h.add(s, ratio, 1)
						return h.since(nil)
					}
					for _, worse := range []float64{0, 0.5, 1, ratio} {
						if pc := ps * worse; pc > 0 && pc < 1 {
							if e := mean(nc, ns, pc, ps, value); e > 1+1e-9 {
								t.Errorf("nc %d, ns %d, stable %g, ratio %g, canary x%g: mean %.9f", nc, ns, ps, ratio, worse, e)
							}
						}
					}
				}
			}
		}
	}
	value := func(s split) float64 {
		h := newHarm()
		h.add(s, 1.3, 1)
		return h.since(nil)
	}
	if e := mean(25, 40, 0.4, 0.02, value); e < 1.5 {
		t.Errorf("a canary that is 20 times worse gives no evidence: mean %g", e)
	}
}

// Both proofs of safety have a mean of at most 1 where the canary is as bad as what is ruled out, or worse.
func TestSafetyIsFair(t *testing.T) {
	for _, nc := range []int{1, 5, 25} {
		for _, ns := range []int{1, 10, 40} {
			for _, ps := range []float64{0.001, 0.02, 0.1} {
				for _, ratio := range []float64{1.6, 2, 4} {
					for _, worse := range []float64{1, 1.5} {
						pc := ps * ratio * worse
						mirror := func(s split) float64 {
							f := newSafety(false)
							f.add(s, ratio, 0, 1)
							return 2*f.value() - 1 // the other half stands at 1
						}
						if e := mean(nc, ns, pc, ps, mirror); e > 1+1e-9 {
							t.Errorf("mirror: nc %d, ns %d, stable %g, ratio %g, x%g: mean %.9f", nc, ns, ps, ratio, worse, e)
						}
						alone := func(s split) float64 {
							f := newSafety(false)
							f.add(split{nc: s.nc, xc: s.xc}, ratio, ps*ratio, 1)
							return 2*f.value() - 1
						}
						if e := mean(nc, ns, pc, ps, alone); e > 1+1e-9 {
							t.Errorf("alone: nc %d, stable %g, ratio %g, x%g: mean %.9f", nc, ps, ratio, worse, e)
						}
					}
				}
			}
		}
	}
}

// With constant odds the grid comes close to the conjugate closed form: a Beta mixture over the canary's share of bad requests.
func TestHarmAgreesWithBetaMixture(t *testing.T) {
	h := newHarm()
	const nc, ns, xc, xs = 500.0, 500.0, 24.0, 4.0
	for range 8 {
		h.add(split{nc / 8, xc / 8, ns / 8, xs / 8}, 1, 1)
	}
	const a, b, theta = 1, 1, 0.5
	// The mixture is restricted to shares above theta: the incomplete beta function is what is left of it.
	above := func(a, b float64) float64 { return 1 - mathext.RegIncBeta(a, b, theta) }
	want := math.Exp(mathext.Lbeta(a+xc, b+xs)-mathext.Lbeta(a, b)-xc*math.Log(theta)-xs*math.Log(1-theta)) * above(a+xc, b+xs) / above(a, b)
	if got := h.since(nil); math.Abs(math.Log(got/want)) > 0.7 {
		t.Errorf("grid %g, mixture %g", got, want)
	}
}

// However often one looks, a canary exactly at the margin is halted with a probability of at most alpha.
func TestEverHalted(t *testing.T) {
	const alpha, runs, blocks = 0.05, 3000, 120
	r := rand.New(rand.NewPCG(1, 2))
	poisson := func(mean float64) float64 { return distuv.Poisson{Lambda: mean, Src: r}.Rand() }
	halted := 0
	for range runs {
		h := newHarm()
		for i := range blocks {
			if i > 0 && i%8 == 0 {
				h.restart()
			}
			share := []float64{0.05, 0.1, 0.25, 0.5}[i*4/blocks]
			n := 1500.0
			h.add(split{n * share, poisson(n * share * 0.01 * 1.3), n * (1 - share), poisson(n * (1 - share) * 0.01)}, 1.3, 1)
			if h.value() >= 1/alpha {
				halted++
				break
			}
		}
	}
	// Three standard deviations above alpha.
	if most := runs*alpha + 3*math.Sqrt(runs*alpha); float64(halted) > most {
		t.Errorf("halted %d of %d, more than %.0f", halted, runs, most)
	}
	if halted == 0 {
		t.Error("never halted: the test has no teeth, or the margin is not where it is thought to be")
	}
}

// A step that would expose users to exactly what must be ruled out is opened with a probability of at most beta; also at full
// weight, where there is no stable traffic, and later starts are averaged in.
func TestEverStepped(t *testing.T) {
	const beta, runs, blocks, p, excess = 0.05, 3000, 120, 0.002, 0.02
	for _, full := range []bool{false, true} {
		r := rand.New(rand.NewPCG(3, 4))
		poisson := func(mean float64) float64 { return distuv.Poisson{Lambda: mean, Src: r}.Rand() }
		opened := 0
		for range runs {
			f := newSafety(full)
			for i := range blocks {
				s, bound := split{75, poisson(75 * (2*p + excess)), 1425, poisson(1425 * p)}, p+excess
				if full {
					if s.ns, s.xs, bound = 0, 0, 2*p+excess; i > 0 && i%8 == 0 {
						f.restart()
					}
				}
				f.add(s, 2+excess/p, bound, 1)
				if f.value() >= 1/beta {
					opened++
					break
				}
			}
		}
		t.Logf("full weight %v: opened %d of %d", full, opened, runs)
		if most := runs*beta + 3*math.Sqrt(runs*beta); float64(opened) > most {
			t.Errorf("full weight %v: opened %d of %d, more than %.0f", full, opened, runs, most)
		}
	}
}

// The confidence sequence holds the true ratio at all times at once.
func TestEffectCovers(t *testing.T) {
	const alpha, runs, ratio = 0.05, 1500, 2.0
	r := rand.New(rand.NewPCG(5, 6))
	poisson := func(mean float64) float64 { return distuv.Poisson{Lambda: mean, Src: r}.Rand() }
	missed := 0
	var width float64
	for range runs {
		e := newEffect()
		for i := range 80 {
			e.add(split{150, poisson(150 * 0.01 * ratio), 1350, poisson(1350 * 0.01)}, 1)
			low, _, high := e.interval(alpha)
			if ratio < low*0.95 || ratio > high*1.05 { // half a step of the grid
				missed++
				break
			}
			if i == 79 {
				width += math.Log(high / low)
			}
		}
	}
	if most := runs*alpha + 3*math.Sqrt(runs*alpha); float64(missed) > most {
		t.Errorf("missed %d of %d, more than %.0f", missed, runs, most)
	}
	if mean := width / runs; mean > 1.6 {
		t.Errorf("the interval is useless: a factor of %.1f wide", math.Exp(mean))
	}
}

// Pearson's estimate finds the size of clusters, and 1 where requests are independent.
func TestDispersion(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, cluster := range []float64{1, 3, 8} {
		d := newDispersion()
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}
		for range 400 {
			cells := make([]podCount, len(names))
			for i := range cells {
				cells[i] = podCount{1000, min(1000, cluster*distuv.Poisson{Lambda: 10 / cluster, Src: r}.Rand())}
			}
			d.add(names, cells)
		}
		if phi := d.phi(); phi < 0.85*cluster || phi > 1.3*cluster+0.2 {
			t.Errorf("clusters of %g: dispersion %.2f", cluster, phi)
		}
	}
}

// The share of requests that exceed a bound, were each of them slower, is right for a distribution that is known; never
// understated beyond the smoothing.
func TestSlower(t *testing.T) {
	survival := func(b float64) float64 {
		return distuv.LogNormal{Mu: math.Log(0.05), Sigma: 0.6}.Survival(b)
	}
	classic := []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	var native []float64
	for i := -40; i < 16; i++ {
		native = append(native, math.Pow(2, float64(i)/8))
	}
	for name, test := range map[string]struct {
		bounds []float64
		most   float64
	}{"classic": {classic, 2.6}, "native": {native, 1.1}} {
		d := distribution{bounds: test.bounds, n: 1e7}
		for _, b := range test.bounds {
			d.above = append(d.above, 1e7*survival(b))
		}
		for i, b := range test.bounds {
			for _, kappa := range []float64{1.15, 1.6} {
				want := survival(b/kappa) / survival(b)
				if s := survival(b); s > 0.98 || s < 1e-5 {
					continue
				}
				if got := d.slower(i, kappa); got < 0.97*want || got > test.most*want {
					t.Errorf("%s, bound %.3g, x%g: %.3f, want %.3f", name, b, kappa, got, want)
				}
			}
		}
	}
}
