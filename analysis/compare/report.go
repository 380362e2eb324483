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
	// Low, Likely and High are the ratio of bad shares, canary to stable: a confidence sequence at Alpha.
	Low, Likely, High float64
	// Wait is how long the proof of safety will take at the present traffic; 0 where it is there, or cannot be told.
	Wait time.Duration
	// Text says it in one sentence.
	Text string
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
	if worst == nil {
		r.Text = j.Name + ": no requests of the stable revision to compare with"
		return r
	}
	r.Bound, r.Dispersion = worst.bound, worst.dispersion.phi()
	r.CanaryRequests, r.CanaryBad, r.StableRequests, r.StableBad = worst.seen.nc, worst.seen.xc, worst.seen.ns, worst.seen.xs
	r.Low, r.Likely, r.High = worst.effect.interval(e.cfg.Alpha)
	share, broken := j.broken()
	switch {
	case e.halted == j.Name:
		r.State = Halt
	case broken:
		r.State = Hold
	case r.Safety >= 1/e.cfg.Beta:
		r.State = Step
	}
	if r.State == Watch {
		r.Wait = e.wait(i, j)
	}
	r.Text = e.sentence(j, &r, share)
	return r
}

// worst is the signal with the most evidence of harm; of equal ones, that with the least of safety.
func (j *judged) worst() *signal {
	var worst *signal
	for _, s := range j.signals {
		if worst == nil || s.harm.value() > worst.harm.value() || s.harm.value() == worst.harm.value() && s.safety.value() < worst.safety.value() {
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
		left := ToStep(e.cfg, i, q, e.next) * math.Min(1, math.Log(1/e.cfg.Beta/value)/(math.Log(1/e.cfg.Beta)+safetyCost))
		if d := left / s.stepRequests * took.Seconds(); d < (24 * time.Hour).Seconds() {
			longest = max(longest, time.Duration(d*float64(time.Second)))
		}
	}
	return longest.Round(time.Second)
}

func (e *Engine) sentence(j *judged, r *Report, stable float64) string {
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
		return fmt.Sprintf("%s: %s: %s its share; the chance that a canary within the margin looks like that is below %s", j.Name, counts,
			times(r.Low, r.High), percent(e.cfg.Alpha))
	case Hold:
		return fmt.Sprintf("%s: stable itself is broken: %s of its last requests were bad, more than the objective of %s; nothing is concluded",
			j.Name, percent(stable), percent(j.Objective))
	case Step:
		return fmt.Sprintf("%s: %s; an excess of %s is ruled out", j.Name, counts, percent(math.Min(1, e.cfg.Budget/e.next)))
	}
	text := fmt.Sprintf("%s: %s; neither harm nor safety is proven", j.Name, counts)
	if r.Wait > 0 {
		text += fmt.Sprintf(", about %s more at this traffic", r.Wait)
	}
	return text
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
