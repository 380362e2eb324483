package compare

import (
	"maps"
	"math"
	"slices"
)

const (
	// priorDispersion and priorWeight are what is assumed of the dispersion, and of how many degrees of freedom that is worth.
	priorDispersion, priorWeight = 1.3, 16
	// longSpan is how many blocks make one of the long sums, in which slow drift of pods shows.
	longSpan = 16
	// memoryOfDispersion and memoryOfRatio are how much of what was known is kept at each block: an hour and 20 minutes at
	// blocks of 15 seconds.
	memoryOfDispersion, memoryOfRatio = 1 - 1.0/240, 1 - 1.0/80
	// memoryOfNow is two minutes; that many bad requests make what happens now believable.
	memoryOfNow, believable = 1 - 1.0/8, 5
)

// podCount is one pod's requests and bad requests.
type podCount struct{ n, x float64 }

// dispersion estimates how much more pods of the stable revision differ than independent requests would make them: Pearson's
// statistic over its degrees of freedom, within blocks and within sums of 16 blocks; the larger counts, and never less than
// 1. Swings that all pods share do not enter. With a single pod, its blocks within a long sum take the place of pods.
type dispersion struct {
	short, long pearson
	sums        map[string]podCount
	singles     []podCount
	blocks      int
}

// pearson is the statistic and its degrees of freedom, over what is remembered; and how many bad requests how many pods had.
type pearson struct{ chi2, df, bad, pods float64 }

func (p *pearson) forget() {
	p.chi2, p.df = p.chi2*memoryOfDispersion, p.df*memoryOfDispersion
	p.bad, p.pods = p.bad*memoryOfDispersion, p.pods*memoryOfDispersion
}

func (p *pearson) add(cells []podCount) {
	var n, x, k float64
	for _, c := range cells {
		if c.n > 0 {
			n, x, k = n+c.n, x+c.x, k+1
		}
	}
	q := x / n
	if k < 2 || !(q > 0 && q < 1) {
		return
	}
	for _, c := range cells {
		if c.n > 0 {
			d := c.x - c.n*q
			p.chi2 += d * d / (c.n * q * (1 - q))
		}
	}
	p.df += k - 1
	p.bad, p.pods = p.bad+x, p.pods+k
}

func (p *pearson) phi() float64 {
	return max(1, (p.chi2+priorWeight*priorDispersion)/(p.df+priorWeight))
}

func newDispersion() *dispersion { return &dispersion{sums: map[string]podCount{}} }

// add takes in a block of stable pods, by name in ascending order.
func (d *dispersion) add(names []string, cells []podCount) {
	d.short.forget()
	d.long.forget()
	if len(cells) > 1 {
		d.short.add(cells)
	}
	for i, name := range names {
		s := d.sums[name]
		d.sums[name] = podCount{s.n + cells[i].n, s.x + cells[i].x}
	}
	if len(cells) == 1 {
		d.singles = append(d.singles, cells[0])
	}
	if d.blocks++; d.blocks < longSpan {
		return
	}
	if len(d.sums) == 1 {
		d.short.add(d.singles)
	} else {
		sums := make([]podCount, 0, len(d.sums))
		for _, name := range slices.Sorted(maps.Keys(d.sums)) { // in a fixed order: the same bits
			sums = append(sums, d.sums[name])
		}
		d.long.add(sums)
	}
	clear(d.sums)
	d.singles, d.blocks = d.singles[:0], 0
}

func (d *dispersion) phi() float64 { return max(d.short.phi(), d.long.phi()) }

// apart separates the two reasons for which pods differ. Chance and bursts make differences that are new in each block: they
// are phi, by which evidence is divided. That some pods are worse for minutes on end makes differences that do not average
// out, and dividing is no remedy for them: far is how many times worse than the others a stable pod is that is farPods
// standard deviations from them, on the logarithmic scale, and no canary is halted for less. The excess of the long sums'
// statistic over the short ones' is that of a log-normal factor with variance tau2, Nq*(exp(tau2)-1) for Nq bad requests a
// pod; only what exceeds twice its standard error counts as such, the rest is left in phi.
func (d *dispersion) apart() (phi, far float64) {
	short, long := d.short.phi(), d.long.phi()
	if d.long.pods == 0 || d.long.bad == 0 || long <= short {
		return d.phi(), 1
	}
	bad := d.long.bad / d.long.pods
	resolved := long - short - 2*long*math.Sqrt((2+long/bad)/(d.long.df+priorWeight))
	if resolved <= 0 {
		return d.phi(), 1
	}
	return long - resolved, math.Exp(farPods * math.Sqrt(math.Log1p(resolved/bad)))
}

// recent is the bad share of the last blocks: of 20 minutes, and of two.
type recent struct{ n, x, nowN, nowX float64 }

func (r *recent) add(n, x float64) {
	r.n, r.x = r.n*memoryOfRatio+n, r.x*memoryOfRatio+x
	r.nowN, r.nowX = r.nowN*memoryOfNow+n, r.nowX*memoryOfNow+x
}

// share is smoothed, so that it is never 0 or 1.
func (r *recent) share() float64 { return (r.x + 0.5) / (r.n + 1) }

// worse is the greater of the two shares: in a brown-out, that of now.
func (r *recent) worse() float64 {
	if r.nowX < believable {
		return r.share()
	}
	return max(r.share(), r.nowX/r.nowN)
}
