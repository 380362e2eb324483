package compare

import (
	"math"
	"time"
)

// The costs of not knowing the alternative beforehand, in nats: what mixing over the grid takes, fitted to simulation.
const harmCost, safetyCost = 3, 1.5

// Question is how long a proof takes at a given traffic.
type Question struct {
	// Stable is the share of bad requests of the stable revision, above 0.
	Stable float64
	// Dispersion of the stable pods, at least 1; 0 stands for 1.3, which is assumed of a service that nobody has measured.
	Dispersion float64
	// Weight of the canary, from 0 to 1.
	Weight float64
}

func (q Question) dispersion() float64 {
	if q.Dispersion == 0 {
		return priorDispersion
	}
	return math.Max(1, q.Dispersion)
}

// ToHalt is how many requests the canary needs until a regression that adds excess to its share of bad requests is proven to
// be worse than the metric's margin; infinite where it is not worse.
//
// The requests are the evidence needed over what a request gives on average: the share of requests that are bad, times the
// Kullback-Leibler divergence of where they fall from where they would fall at the margin.
func ToHalt(c Config, metric int, q Question, excess float64) float64 {
	c = c.withDefaults()
	m := c.Metrics[metric]
	pc, ratio := math.Min(1, q.Stable+excess), m.Margin.Ratio+m.Margin.Absolute/q.Stable
	if q.Weight <= 0 || q.Weight >= 1 || pc <= ratio*q.Stable {
		return math.Inf(1)
	}
	share := func(ratio float64) float64 {
		o := q.Weight * ratio / (1 - q.Weight)
		return o / (1 + o)
	}
	bad := (q.Weight*pc + (1-q.Weight)*q.Stable) / q.Weight
	evidence := math.Log(1/c.Alpha) + math.Log(float64(deciding(c))) + harmCost
	return q.dispersion() * evidence / (bad * divergence(share(pc/q.Stable), share(ratio)))
}

func deciding(c Config) int {
	n := 0
	for _, m := range c.Metrics {
		if !m.Advisory {
			n++
		}
	}
	return max(1, n)
}

// ToStep is how many requests a canary that is as good as stable needs until the excess is ruled out that would use up the
// harm budget at the next weight.
func ToStep(c Config, metric int, q Question, next float64) float64 {
	c = c.withDefaults()
	bound := 0.5*c.Metrics[metric].Exclude*q.Stable + c.Budget/next
	if bound >= 1 || bound <= q.Stable {
		return math.Inf(1)
	}
	return q.dispersion() * (math.Log(1/c.Beta) + safetyCost) / divergence(q.Stable, bound)
}

// divergence of a coin that falls with p from one that falls with q, in nats (Kullback and Leibler 1951).
func divergence(p, q float64) float64 {
	d := 0.0
	if p > 0 {
		d += p * math.Log(p/q)
	}
	if p < 1 {
		d += (1 - p) * math.Log((1-p)/(1-q))
	}
	return d
}

// Budget is the harm budget of a configuration, a share of all requests.
func Budget(c Config) float64 { return c.withDefaults().Budget }

// Dwell is the least time of a step.
func Dwell(c Config) time.Duration { return c.withDefaults().Dwell }
