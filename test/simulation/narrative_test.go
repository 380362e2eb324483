package simulation

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden narratives anew")

// story tells what happens in a world in which everything that is not the planner works at once.
type story struct{ *World }

func tell(cfg Config) *story {
	if cfg.Steps == nil && cfg.BlueGreen == nil {
		cfg.Steps = []v1alpha1.Step{weighted(20, v1alpha1.Step{Name: "first"}), weighted(100, v1alpha1.Step{Name: "all", Hold: "30s"})}
	}
	cfg.Replicas, cfg.Deadline, cfg.Revert, cfg.RoleInGit = 3, "2m", true, true
	s := &story{NewWorld(cfg)}
	s.truth.verbose = true
	s.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, 1)
	return s
}

func (s *story) title(format string) { s.truth.log = append(s.truth.log, "# "+format) }

// once lets everything else catch up, reconciles, and lets a second pass.
func (s *story) once(faults ...Fault) {
	s.kubelets("")
	s.endpointSlices(0)
	s.endpointSlices(1)
	s.publish()
	s.measure()
	s.caches.remember(s.World)
	s.caches.catchUp()
	before := s.rollout.Status
	s.reconcile(faults, lags{})
	s.changes(&before)
	s.now = s.now.Add(time.Second)
}

func (s *story) changes(before *v1alpha1.RolloutStatus) {
	after := &s.rollout.Status
	a, b := before.Attempt, after.Attempt
	switch {
	case b == nil && a != nil:
		h := after.History[0]
		s.say("= attempt %d is over: %s (%s), stable is %s", h.Number, h.Outcome, h.Reason, after.Stable.Revision)
	case b != nil && (a == nil || a.Stage != b.Stage || a.Step != b.Step || a.Number != b.Number):
		s.say("= attempt %d of %s: %s, step %q, weight %d", b.Number, b.Revision, b.Stage, b.StepName, b.Weight)
	case b != nil && a.ConfirmedAt == nil && b.ConfirmedAt != nil:
		s.say("= weight %d is confirmed", b.ConfirmedWeight)
	}
	if before.BlockedBy != after.BlockedBy && after.BlockedBy != "" {
		s.say("  (waits: %s)", after.BlockedBy)
	}
	if r := after.Revert; r != nil && (before.Revert == nil || before.Revert.Attempt != r.Attempt) {
		s.say("= Git is asked to go from %s to %s", r.Bad, r.Good)
	}
}

// until a stage is reached, or the attempt is over where stage is empty.
func (s *story) until(t *testing.T, stage v1alpha1.Stage, step int32) {
	t.Helper()
	for range 400 {
		at := s.rollout.Status.Attempt
		if at == nil && stage == "" || at != nil && at.Stage == stage && at.Step == step {
			return
		}
		s.once()
	}
	t.Fatalf("stage %q, step %d is not reached:\n%s", stage, step, strings.Join(s.truth.log, "\n"))
}

// quiet goes on until nothing changes for two minutes.
func (s *story) quiet() {
	for range 130 {
		s.once()
	}
}

func (s *story) ask(action v1alpha1.DecisionAction) {
	at := s.rollout.Status.Attempt
	s.say("kim asks: %s", action)
	s.newDecision(action, at.Number, at.Step, "")
}

func TestNarratives(t *testing.T) {
	for name, test := range map[string]struct {
		cfg Config
		run func(*testing.T, *story)
	}{
		"good":             {Config{Analysis: true, Bake: "1m"}, good},
		"bad-first-step":   {Config{Analysis: true}, badFirstStep},
		"third-template":   {Config{Analysis: true}, thirdTemplate},
		"abort-in-bake":    {Config{Analysis: true, Bake: "10m"}, abortInBake},
		"crash-promoting":  {Config{}, crashPromoting},
		"paused-approval":  {Config{Steps: stepSets(2)[2:]}, pausedApproval},
		"deletion":         {Config{}, deletion},
		"foreign-writer":   {Config{}, foreignWriter},
		"provider-down":    {Config{Analysis: true}, providerDown},
		"inconclusive":     {Config{Analysis: true, Steps: unproven()}, inconclusive},
		"lost-canary":      {Config{Flaky: true, Pause: true}, lostCanary},
		"scaled-to-zero":   {Config{}, scaledToZero},
		"first-is-created": {Config{}, nil},
		"blue-green":       {Config{Analysis: true, Bake: "1m", BlueGreen: gated()}, blueGreen},
		"blue-green-abort": {Config{Analysis: true, Bake: "10m", BlueGreen: &v1alpha1.BlueGreenStrategy{}}, abortInBake},
		"blue-green-bad":   {Config{BlueGreen: gated()}, badPreview},
		"becomes-preview":  {Config{}, becomesBlueGreen},
		"known-good":       {Config{Analysis: true}, knownGood},
		"match":            {Config{Analysis: true, Foreign: true, Steps: matchSteps()}, dark},
		"match-abort":      {Config{Steps: matchSteps()}, darkAbort},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(test.cfg)
			if test.run == nil {
				w := Bare(s.cfg)
				w.truth.verbose = true
				s = &story{w}
				s.until(t, v1alpha1.StageInitial, 0)
				s.until(t, "", 0)
			} else {
				test.run(t, s)
			}
			if len(s.truth.violations) > 0 {
				t.Errorf("violations: %v", s.truth.violations)
			}
			compare(t, filepath.Join("testdata", name+".golden"), strings.Join(s.truth.log, "\n")+"\n")
		})
	}
}

func knownGood(t *testing.T, s *story) {
	s.title("A revision that was stable before goes back without steps; the provider is down, and nobody waits for it.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	s.until(t, "", 0)
	s.providerDown = true
	s.commit("a")
	s.until(t, v1alpha1.StageStepping, 2)
	s.until(t, "", 0)
	s.quiet()
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func (s *story) commit(revision string) {
	s.say("a user sets template %s", revision)
	s.setTemplate(revision)
}

func good(t *testing.T, s *story) {
	s.title("A good revision goes through its steps, is promoted and baked; then the old pods go.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	s.until(t, "", 0)
	s.quiet()
}

func badFirstStep(t *testing.T, s *story) {
	s.title("A bad revision is taken back at its first step, and Git is asked to follow once no traffic reaches it.")
	s.bad["b"] = true
	s.commit("b")
	s.until(t, v1alpha1.StageWithdrawing, 0)
	s.until(t, "", 0)
	s.quiet()
	s.say("somebody applies b again")
	s.setTemplate("b")
	s.quiet()
}

func thirdTemplate(t *testing.T, s *story) {
	s.title("A third template arrives while the second is on trial.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	s.commit("c")
	s.until(t, v1alpha1.StageWithdrawing, 1)
	s.until(t, "", 0)
	s.until(t, v1alpha1.StageStepping, 0)
	s.until(t, "", 0)
}

func abortInBake(t *testing.T, s *story) {
	s.title("A person aborts during the bake: the old pods take over before the new ones leave, and no pod starts.")
	s.commit("b")
	s.until(t, v1alpha1.StageBaking, 1)
	s.ask(v1alpha1.ActionAbort)
	s.until(t, v1alpha1.StageWithdrawing, 1)
	s.until(t, "", 0)
}

func crashPromoting(t *testing.T, s *story) {
	s.title("The controller crashes at every write of the promotion, and goes on where it was.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	for range 400 {
		if s.rollout.Status.Attempt == nil {
			break
		}
		if s.rollout.Status.Attempt.Stage != v1alpha1.StageStepping {
			s.once(Fault{At: 1, How: faultHalf})
			s.once(Fault{At: 0, How: faultCrashAfter})
		}
		s.once()
	}
}

func pausedApproval(t *testing.T, s *story) {
	s.title("A step needs approval; the attempt is paused and resumed meanwhile.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	for range 20 {
		s.once()
	}
	for _, action := range []v1alpha1.DecisionAction{v1alpha1.ActionPause, v1alpha1.ActionApprove, v1alpha1.ActionResume} {
		s.ask(action)
		for range 5 {
			s.once()
		}
	}
	s.until(t, "", 0)
}

func deletion(t *testing.T, s *story) {
	s.title("The Rollout is deleted while a canary has traffic.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	s.say("a user deletes the Rollout")
	s.Happen(Event{Kind: Delete})
	for range 40 {
		s.once()
	}
	if !s.deleted {
		t.Error("the Rollout is still there")
	}
}

func foreignWriter(t *testing.T, s *story) {
	s.title("Somebody applies Git's version of the route in the middle of a step.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	for range 25 {
		s.once()
	}
	s.Happen(Event{Kind: ForeignRoute})
	s.until(t, "", 0)
}

func providerDown(t *testing.T, s *story) {
	s.title("Prometheus is down: nothing goes forward, nothing goes back.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	s.World.providerDown = true
	s.quiet()
	s.say("Prometheus is back")
	s.World.providerDown = false
	s.until(t, "", 0)
}

// unproven are steps that wait for evidence for a time each, and then do another thing each.
func unproven() []v1alpha1.Step {
	hold := func(name string, weight int32, action v1alpha1.InconclusiveAction) v1alpha1.Step {
		return weighted(weight, v1alpha1.Step{Name: name, MaxHold: "30s", OnInconclusive: action})
	}
	return []v1alpha1.Step{hold("extends", 10, v1alpha1.InconclusiveExtend), hold("proceeds", 30, v1alpha1.InconclusiveProceed),
		hold("pauses", 60, v1alpha1.InconclusivePause), hold("rolls-back", 100, v1alpha1.InconclusiveRollback)}
}

func inconclusive(t *testing.T, s *story) {
	s.title("There is no data: each step waits for its maxHold, and then does what its onInconclusive says.")
	s.noData = true
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	for range 80 {
		s.once()
	}
	s.say("there is data for a moment")
	s.noData = false
	s.until(t, v1alpha1.StageStepping, 1)
	s.noData = true
	s.until(t, v1alpha1.StageStepping, 2)
	for range 2 {
		for range 75 {
			s.once()
		}
		s.ask(v1alpha1.ActionResume)
	}
	for range 75 {
		s.once()
	}
	s.ask(v1alpha1.ActionPromote)
	s.until(t, "", 0)
}

func lostCanary(t *testing.T, s *story) {
	s.title("The canary loses its pods while it has traffic: it is taken back, though onFailure says Pause.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	for range 5 {
		s.once()
	}
	s.broken["b"] = true
	for range 3 {
		s.podLost("b")
	}
	s.say("the pods of b are lost")
	s.until(t, "", 0)
}

func scaledToZero(t *testing.T, s *story) {
	s.title("A user scales to zero while the pods are switched: the attempt is called off, and nobody is blamed.")
	s.commit("b")
	s.until(t, v1alpha1.StageSwitching, 1)
	s.Happen(Event{Kind: Replicas, A: 0})
	s.until(t, "", 0)
	s.quiet()
}
