package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Report is what is known of one metric.
type Report struct {
	// Metric is its name.
	Metric string
	// State of this metric alone.
	State State
	// Bound is that of the signal that is told of, in seconds: the one that speaks most against the canary. Of Latency only.
	Bound float64
	// Requests and bad requests of both arms since the beginning.
	CanaryRequests, CanaryBad, StableRequests, StableBad float64
	// Dispersion between stable pods; 1 is that of independent requests.
	Dispersion float64
	// Harm and Safety are the evidence so far: 1 at the beginning.
	Harm, Safety float64
	// Counted says that there are counts, and a ratio of bad shares.
	Counted bool
	// Low, Likely and High are the ratio of bad shares, canary to stable: a confidence sequence at Alpha.
	Low, Likely, High float64
	// Means are compared of Latency, Level and Restarts; nil where nothing was observed.
	Means *Means
	// Wait is how long the proof of safety will take at the present traffic; 0 where it is there, or cannot be told.
	Wait time.Duration
	// Text says it in one sentence.
	Text string
}

// Means of both arms: durations in seconds, levels, or restarts in an hour of a pod; and their ratio, canary to stable, with a
// confidence sequence at Alpha.
type Means struct {
	Canary, Stable, Low, Likely, High float64
}

// Report tells of each metric, in the order of Config.Metrics.
func (e *Engine) Report() []Report {
	out := make([]Report, len(e.metrics))
	for i, j := range e.metrics {
		out[i] = e.report(i, j)
	}
	return out
}

func (e *Engine) report(i int, j *judged) Report {
	r := Report{Metric: j.Name, State: Watch, Harm: j.harmValue(), Safety: j.safetyValue(), Dispersion: 1, High: math.Inf(1), Likely: 1}
	worst := j.worst()
	r.Means = j.told(e.cfg.Alpha)
	if worst == nil && j.Kind != Level {
		r.Text = j.Name + ": no requests of the stable revision to compare with"
		return r
	}
	if worst != nil {
		r.Counted, r.Bound, r.Dispersion = true, worst.bound, worst.dispersion.phi()
		r.CanaryRequests, r.CanaryBad, r.StableRequests, r.StableBad = worst.seen.nc, worst.seen.xc, worst.seen.ns, worst.seen.xs
		r.Low, r.Likely, r.High = worst.effect.interval(e.cfg.Alpha)
	}
	share, broken := j.broken()
	switch {
	case e.halted == j.Name:
		r.State = Halt
	case broken:
		r.State = Hold
	case r.Safety >= 1/e.cfg.Beta:
		r.State = Step
	}
	switch {
	case r.State != Watch:
	case j.Kind == Level || j.Kind == Restarts:
		r.Wait = e.waitForPods(j)
	case worst != nil:
		r.Wait = e.wait(i, j)
	}
	r.Text = j.Name + ": " + e.sentence(j, &r, share)
	return r
}

// worst is the signal with the most evidence of harm; of equal ones, that with the least of safety.
func (j *judged) worst() *signal {
	var worst *signal
	for _, s := range j.signals {
		if worst == nil || s.evidence() > worst.evidence() || s.evidence() == worst.evidence() && s.safety.value() < worst.safety.value() {
			worst = s
		}
	}
	return worst
}

// wait is what is left of the proof of safety at the rate of the step's canary requests so far.
func (e *Engine) wait(i int, j *judged) time.Duration {
	took := e.at.Sub(e.stepFrom)
	var longest time.Duration
	for _, s := range j.signals {
		value := s.safety.value()
		if value >= 1/e.cfg.Beta || s.stepRequests == 0 || took <= 0 {
			continue
		}
		q := Question{Stable: s.stable.share(), Dispersion: s.dispersion.phi(), Weight: 0.5}
		share := math.Log(1/e.cfg.Beta/value) / (math.Log(1/e.cfg.Beta) + safetyCost)
		if !e.full { // at full weight it may be as long as the weight of a later start asks
			share = math.Min(1, share)
		}
		left := ToStep(e.cfg, i, q, e.next) * share
		if d := left / s.stepRequests * took.Seconds(); d < (24 * time.Hour).Seconds() {
			longest = max(longest, time.Duration(d*float64(time.Second)))
		}
	}
	return longest.Round(time.Second)
}

// waitForPods is what is left of the proof of safety while canary pods live and nothing speaks against them: of restarts, the
// seconds of their lives that rule a crash loop out; of levels, the next observation.
func (e *Engine) waitForPods(j *judged) time.Duration {
	took := e.at.Sub(e.stepFrom)
	if j.Kind == Level {
		if len(j.levels.pods) == 0 && j.levels.harm.observed == 0 {
			return 0 // there is nothing to wait for
		}
		return time.Duration(levelSpan-j.levels.blocks) * e.at.Sub(e.from)
	}
	s := j.signals[0]
	if s.stepRequests == 0 || took <= 0 {
		return 0
	}
	left := (math.Log(1/e.cfg.Beta) - math.Log(s.safety.value())) / crashLoop
	return time.Duration(math.Max(0, left) / s.stepRequests * float64(took)).Round(time.Second)
}

// sentence for the person on call.
func (e *Engine) sentence(j *judged, r *Report, stable float64) string {
	if j.Kind == Level || j.Kind == Restarts {
		return e.sentenceOfPods(j, r)
	}
	what := "bad"
	if j.Kind == Latency {
		what = "slower than " + seconds(r.Bound)
	}
	counts := fmt.Sprintf("%s of %s canary requests were %s, of stable's %s of %s", whole(r.CanaryBad), whole(r.CanaryRequests), what,
		whole(r.StableBad), whole(r.StableRequests))
	if r.CanaryRequests == 0 {
		counts = "no canary request was measured"
	}
	switch r.State {
	case Halt:
		return fmt.Sprintf("%s; the chance that a canary within the margin looks like that is below %s", e.worse(j, r, counts), percent(e.cfg.Alpha))
	case Hold:
		return fmt.Sprintf("stable itself is broken: %s of its last requests were bad, more than the objective of %s; nothing is concluded",
			percent(stable), percent(j.Objective))
	case Step:
		return fmt.Sprintf("%s; an excess of %s is ruled out", counts, percent(math.Min(1, e.cfg.Budget/e.next)))
	}
	text := fmt.Sprintf("%s; neither harm nor safety is proven", counts)
	if r.Wait > 0 {
		text += fmt.Sprintf(", about %s more at this traffic", r.Wait)
	}
	return text
}

// worse tells what the canary is halted for: its mean, where that says more than the bounds.
func (e *Engine) worse(j *judged, r *Report, counts string) string {
	if j.means != nil && r.Means != nil && j.means.value() > j.boundsValue() {
		return fmt.Sprintf("canary requests took %s on average and stable's %s, %s as long", seconds(r.Means.Canary), seconds(r.Means.Stable),
			times(r.Means.Low, r.Means.High))
	}
	return fmt.Sprintf("%s: %s its share", counts, times(r.Low, r.High))
}

func (e *Engine) sentenceOfPods(j *judged, r *Report) string {
	what := "no canary pod was measured beside a stable one"
	switch {
	case j.Kind == Restarts:
		what = fmt.Sprintf("containers of canary pods restarted %s in %s, of stable's %s in %s", plural(r.CanaryBad, "time"), podTime(r.CanaryRequests),
			plural(r.StableBad, "time"), podTime(r.StableRequests))
	case r.Means != nil:
		what = fmt.Sprintf("canary pods have %s and stable's %s, %s as much", short(r.Means.Canary), short(r.Means.Stable), times(r.Means.Low, r.Means.High))
	}
	switch r.State {
	case Halt:
		return fmt.Sprintf("%s; the chance that a canary within the margin looks like that is below %s", what, percent(e.cfg.Alpha))
	case Step:
		if j.Kind == Restarts {
			return what + "; a crash loop is ruled out"
		}
		return fmt.Sprintf("%s; %s as much is ruled out", what, times(j.Exclude, math.Inf(1)))
	}
	text := what + "; neither harm nor safety is proven"
	if r.Wait > 0 {
		text += fmt.Sprintf(", about %s more while nothing changes", r.Wait)
	}
	return text
}

func plural(n float64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return whole(n) + " " + one + "s"
}

// podTime is how long pods lived together.
func podTime(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String() + " of pods' lives"
}

// short number with a prefix of the metric system.
func short(x float64) string {
	for _, p := range []struct {
		unit float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= p.unit {
			return strconv.FormatFloat(x/p.unit, 'g', 3, 64) + p.name
		}
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// told are the means that were compared.
func (j *judged) told(alpha float64) *Means {
	exp := func(n *normal, canary, stable float64) *Means {
		low, likely, high := n.interval(alpha)
		return &Means{Canary: canary, Stable: stable, Low: math.Exp(low), Likely: math.Exp(likely), High: math.Exp(high)}
	}
	switch {
	case j.means != nil && j.means.normal.observed > 0:
		c, s := j.means.seen[0], j.means.seen[1]
		return exp(&j.means.normal, c.sum/c.n, s.sum/s.n)
	case j.levels != nil && j.levels.harm.observed > 0:
		return exp(&j.levels.harm, j.levels.lastCanary, j.levels.lastStab)
	case j.Kind == Restarts:
		s := j.signals[0]
		if s.seen.nc == 0 || s.seen.ns == 0 {
			return nil
		}
		low, likely, high := s.effect.interval(alpha)
		return &Means{Canary: s.seen.xc / s.seen.nc * 3600, Stable: s.seen.xs / s.seen.ns * 3600, Low: low, Likely: likely, High: high}
	}
	return nil
}

func times(low, high float64) string {
	switch {
	case low > 0 && !math.IsInf(high, 1):
		return fmt.Sprintf("%.3g to %.3g times", low, high)
	case low > 0:
		return fmt.Sprintf("at least %.3g times", low)
	case !math.IsInf(high, 1):
		return fmt.Sprintf("at most %.3g times", high)
	}
	return "any multiple of"
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'g', 3, 64) + " %" }

func seconds(s float64) string {
	if s < 1 {
		return strconv.FormatFloat(s*1000, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'g', 3, 64) + " s"
}

// whole number with separators of thousands.
func whole(x float64) string {
	digits := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return out.String()
}
