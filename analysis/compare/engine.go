package compare

import (
	"math"
	"time"
)

const (
	// restartEvery is how often a new start is averaged into the evidence of harm, and at full weight of safety.
	restartEvery = 2 * time.Minute
	// leastBad and leastBadBlocks are needed before anything is halted: bad requests of the canary, and blocks with them.
	leastBad, leastBadBlocks = 5, 2
)

// State is what may be done.
type State string

// States.
const (
	// Halt: worse than the margin, as good as certain. Final.
	Halt State = "Halt"
	// Step: what must be ruled out at the next weight is ruled out.
	Step State = "Step"
	// Watch: neither is proven yet.
	Watch State = "Watch"
	// Hold: stable itself is broken; nothing is concluded.
	Hold State = "Hold"
)

// Engine judges one rollout, block by block. Its state is a function of the blocks alone, in their order.
type Engine struct {
	cfg       Config
	metrics   []*judged
	next      float64
	full      bool
	stepFrom  time.Time
	restarted time.Time
	from, at  time.Time // of the last block
	blocks    int
	halted    string // what halted it
}

// New engine. What must be proven at first is that the canary may get all of the traffic; StepAt says otherwise.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg.withDefaults(), next: 1}
	for _, m := range e.cfg.Metrics {
		e.metrics = append(e.metrics, newJudged(m))
	}
	return e
}

// Reference takes in a block of the time before the canary got traffic: stable's ratio, dispersion and distribution are
// learnt from it. About 20 minutes are enough; without any, assumptions stand in, and they are conservative.
func (e *Engine) Reference(b Block) {
	for i, j := range e.metrics {
		j.reference(b.Metrics[i])
	}
}

// StepAt says that a step began at a weight; next is the weight after it. Both are shares from 0 to 1. Evidence of safety
// begins anew. At weight 1 no traffic is left to compare with: the canary is then held against what stable did last.
func (e *Engine) StepAt(at time.Time, weight, next float64) {
	e.stepFrom, e.next, e.full = at, min(1, max(next, 1e-3)), weight >= 1
	for _, j := range e.metrics {
		for _, s := range j.signals {
			s.safety, s.stepRequests = newSafety(e.full), 0
		}
		if j.levels != nil && !e.full { // at full weight the last proof stands
			j.levels.step()
		}
	}
	e.restart(at)
}

// At is the end of the last block; zero before the first.
func (e *Engine) At() time.Time { return e.at }

// Dwelt says whether the evidence of the step was gathered long enough.
func (e *Engine) Dwelt() bool { return e.at.Sub(e.stepFrom) >= e.cfg.Dwell }

func (e *Engine) restart(at time.Time) {
	if e.blocks == 0 {
		e.restarted = at
		return
	}
	for _, j := range e.metrics {
		for _, s := range j.signals {
			s.harm.restart()
			if s.absolute != nil {
				s.absolute.restart()
			}
		}
		if j.means != nil {
			j.means.normal.restart()
		}
		if j.levels != nil {
			j.levels.harm.restart()
		}
	}
	e.restarted = at
}

// restartSafety begins the proof of full weight anew, beside the one that is under way.
func (e *Engine) restartSafety() {
	if !e.full {
		return
	}
	for _, j := range e.metrics {
		for _, s := range j.signals {
			s.safety.restart()
		}
	}
}

// Add takes in the next block.
func (e *Engine) Add(b Block) {
	switch {
	case e.blocks == 0:
		e.restarted = b.Start
		if e.stepFrom.IsZero() {
			e.stepFrom = b.Start
		}
	case b.Start.Sub(e.restarted) >= restartEvery:
		e.restart(b.Start)
		e.restartSafety()
	}
	for i, j := range e.metrics {
		j.add(b.Metrics[i], b.Start, e.cfg, e.next, e.full)
	}
	e.blocks++
	e.from, e.at = b.Start, b.End
	if e.halted == "" {
		e.halted = e.proveHarm()
	}
}

// proveHarm names what the canary is halted for; empty when nothing is proven.
func (e *Engine) proveHarm() string {
	if _, broken := e.broken(); broken {
		return ""
	}
	for _, j := range e.metrics {
		if !j.Advisory && j.allFail() {
			return j.Name
		}
	}
	if e.Harm() < 1/e.cfg.Alpha {
		return ""
	}
	name, most := "", 0.0
	for _, j := range e.metrics {
		if v := j.harmValue(); !j.Advisory && (v > most || name == "") && j.enough() {
			name, most = j.Name, v
		}
	}
	return name
}

// enough says whether the canary had bad requests enough to be halted for.
func (j *judged) enough() bool {
	switch j.Kind {
	case Level:
		return j.levels.harm.observed >= leastObservations
	case Restarts:
		return j.signals[0].seen.xc >= leastRestarts
	}
	for _, s := range j.signals {
		if s.seen.xc >= leastBad && s.badBlocks >= leastBadBlocks {
			return true
		}
	}
	return j.means != nil && j.means.enough()
}

func (e *Engine) broken() (*judged, bool) {
	for _, j := range e.metrics {
		if _, broken := j.broken(); broken && !j.Advisory {
			return j, true
		}
	}
	return nil, false
}

// Harm is the evidence that the canary is worse than the margins: the average of the metrics' that decide. Valid under any
// dependence between them. It is 1 at the beginning.
func (e *Engine) Harm() float64 {
	sum, n := 0.0, 0.0
	for _, j := range e.metrics {
		if !j.Advisory {
			sum, n = sum+j.harmValue(), n+1
		}
	}
	if n == 0 {
		return 1
	}
	return sum / n
}

// Safety is the evidence of the metric that is proven least.
func (e *Engine) Safety() float64 {
	least, decides := math.Inf(1), false
	for _, j := range e.metrics {
		if !j.Advisory {
			least, decides = math.Min(least, j.safetyValue()), true
		}
	}
	if !decides {
		return 1
	}
	return least
}

// State of the judgement after the last block.
func (e *Engine) State() State {
	switch _, broken := e.broken(); {
	case e.halted != "":
		return Halt
	case broken:
		return Hold
	case e.blocks > 0 && e.Safety() >= 1/e.cfg.Beta && e.Dwelt():
		return Step
	}
	return Watch
}
