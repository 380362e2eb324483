package compare

import "math"

const (
	// leastRestarts of the canary are needed before it is halted for them.
	leastRestarts = 3
	// crashLoop is the rate of restarts, in each second of each pod, that must be ruled out before a step: one a minute.
	crashLoop = 1.0 / 60
)

// addRestarts judges a block of a metric of Restarts: a tally's Requests are the seconds that its pod lived in the block, and
// Bad its restarts. They are too few for the conditional test, whose odds a single stable pod would decide, so the canary's
// rate is held against a rate that is borne: ratio times stable's, over 20 minutes or two, whichever is worse, plus absolute.
// Restarts that hit both arms therefore speak against neither. The likelihood ratio of Poisson processes with constant
// rates is x*ln(g) - (g-1)*rate*seconds; Waudby-Smith and Ramdas call such a product a test martingale.
func (j *judged) addRestarts(c Counts) {
	s := j.signals[0]
	sp := s.split(Errors, c, noTime)
	rate := math.Max(j.restarts.long.rate(), j.restarts.short.rate())
	borne := j.Margin.Ratio*rate + j.Margin.Absolute
	s.harm.rate(sp, borne)
	s.safety.rate(sp, math.Max(crashLoop, borne))
	s.effect.add(sp, 1)
	s.stepRequests += sp.nc
	s.seen = split{s.seen.nc + sp.nc, s.seen.xc + sp.xc, s.seen.ns + sp.ns, s.seen.xs + sp.xs}
	if sp.xc > 0 {
		s.badBlocks++
	}
	j.restarts.add(sp.ns, sp.xs)
}

// rates of stable's restarts.
type rates struct{ long, short decayed }

type decayed struct{ n, x float64 }

func (d *decayed) add(n, x, memory float64) { d.n, d.x = d.n*memory+n, d.x*memory+x }

func (d *decayed) rate() float64 {
	if d.n == 0 {
		return 0
	}
	return d.x / d.n
}

func (r *rates) add(n, x float64) {
	r.long.add(n, x, memoryOfRatio)
	r.short.add(n, x, memoryOfNow)
}

// rate takes in n seconds of the canary's pods with x restarts, at a rate that is borne.
func (h *harm) rate(s split, borne float64) {
	if s.nc == 0 || borne <= 0 {
		return
	}
	for i, g := range alternatives {
		h.sum[i] += math.Min(s.xc*alternativeLogs[i]-(g-1)*borne*s.nc, maxIncrement)
	}
}

// rate takes in n seconds of the canary's pods with x restarts, at a rate that must be ruled out.
func (f *safety) rate(s split, excluded float64) {
	for i, g := range alternatives {
		increment := -s.xc*alternativeLogs[i] + (1-1/g)*excluded*s.nc
		f.mirror[i] += increment
		f.alone[i] += increment
	}
}
