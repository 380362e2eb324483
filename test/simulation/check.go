package simulation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// same compares as the shell does; the quicker comparison, which is the stricter one, decides nearly always.
func same(a, b *v1alpha1.RolloutStatus) bool {
	return reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}

func (w *World) violate(id, format string, args ...any) {
	v := id + ": " + fmt.Sprintf(format, args...)
	w.truth.violations = append(w.truth.violations, v)
	w.say("VIOLATION %s", v)
}

// marked is what was before an action.
type marked struct {
	stable, canary int32 // endpoints that would be selected, with every pod that is to stay
	routes         []*unstructured.Unstructured
	sets           map[string]int32
}

func (x *executor) mark() marked {
	m := marked{stable: x.lasting(0), canary: x.lasting(1), sets: map[string]int32{}}
	for _, r := range x.routes {
		m.routes = append(m.routes, r.object)
	}
	for k, s := range x.sets {
		m.sets[k] = s.wanted
	}
	return m
}

// lasting counts the endpoints of a Service that remain once ReplicaSets have the sizes that are asked of them.
func (w *World) lasting(i int) int32 {
	var n int32
	for revision, count := range w.selected(i) {
		wanted := int32(0)
		if s := w.sets[revision]; s != nil {
			wanted = s.wanted
		}
		n += min(count, wanted)
	}
	return n
}

// checkAction checks one write of the controller against what is really there.
func (x *executor) checkAction(view planner.Observed, a planner.Action, before marked) {
	switch a := a.(type) {
	case planner.PatchRoute:
		x.truth.count.Raises += int64(map[bool]int{true: 1}[a.Raises])
		for i, r := range x.routes {
			if r.object.GetName() == a.Name {
				x.checkRoute(view, a, before.routes[i], r.object)
			}
		}
	case planner.Scale:
		x.checkScale(a)
	case planner.SetRole:
		x.checkRole(a)
	case planner.EvictPod:
		x.checkEvicted(a, before)
	case planner.PointCanary:
		if at := x.rollout.Status.Attempt; a.Revision != "" && at != nil && view.Canary.Exists && view.Canary.Revision != a.Revision && x.live() > 0 && !x.truth.foreign {
			x.violate("T6", "canary Service is pointed to %s while routes give it weight %d", a.Revision, x.live())
		}
	}
	x.checkEmpty(a, before)
}

// checkEmpty (T6): no write of ours takes the last endpoint out of a Service that has weight.
func (x *executor) checkEmpty(a planner.Action, before marked) {
	if x.replicas() == 0 || x.deleted || x.rollout.Status.Stable == nil {
		return
	}
	least, most := x.plane()
	if least < 100 && before.stable > 0 && x.lasting(0) == 0 && x.services[0].exists && !x.letIn() {
		x.violate("T6", "stable Service is emptied while it has weight by: %s", a)
	}
	if most > 0 && before.canary > 0 && before.stable > 0 && x.lasting(1) == 0 && !x.truth.timedOut {
		x.violate("T6", "canary Service is emptied while it has weight %d by: %s", most, a)
	}
}

func (x *executor) checkRoute(view planner.Observed, a planner.PatchRoute, was, is *unstructured.Unstructured) {
	st := &x.rollout.Status
	_, most := x.weights(is)
	_, had := x.weights(was)
	checkSums(x.World, is)
	allowed := int32(0)
	if at := st.Attempt; at != nil && at.Verdict == nil && x.rollout.DeletionTimestamp == nil {
		switch at.Stage {
		case v1alpha1.StageStepping:
			allowed = at.Weight
		case v1alpha1.StageSwitching, v1alpha1.StageRetiring:
			allowed = 100
		}
	}
	if most > had && x.unread {
		x.violate("T7", "route %s is raised from %d to %d while another cannot be read", a.Name, had, most)
	}
	if most > had && most > allowed {
		x.violate("T7", "route %s is raised from %d to %d, stored is %d", a.Name, had, most, allowed)
	}
	if most > 0 && !x.services[1].exists && !x.truth.foreign {
		x.violate("T2", "route %s refers to a canary Service that does not exist", a.Name)
	}
	if most > had && st.Attempt != nil {
		have, need := view.Canary.Endpoints[st.Attempt.Revision], needed(view, st.Attempt)
		if have < need {
			x.violate("T3", "weight is raised to %d with %d of %d endpoints", most, have, need)
		}
		i := slices.IndexFunc(view.ReplicaSets, func(rs planner.ReplicaSet) bool { return rs.Revision == st.Attempt.Revision })
		if i < 0 || view.ReplicaSets[i].Available < need {
			x.violate("T3", "weight is raised to %d before %d pods are available", most, need)
		}
	}
	x.checkCopies(view, a, was, is)
	x.checkMirrors(view, a, was, is)
	x.checkGivenBack(a, had, most)
	if a, b := others(was), others(is); a != b {
		x.violate("T9", "a patch changed what is not ours:\n%s\n%s", a, b)
	}
}

// needed is how many endpoints a weight needs, computed apart from the planner.
func needed(view planner.Observed, at *v1alpha1.Attempt) int32 {
	r := *view.Rollout.Spec.Replicas
	if at.Stage != v1alpha1.StageStepping {
		return max(1, r)
	}
	return max(1, (r*at.Weight+99)/100)
}

// checkSums (T1): in every rule that refers to one of the two Services, weights sum to more than 0 and stable is there.
func checkSums(w *World, o *unstructured.Unstructured) {
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for i, rule := range rules {
		if isCopy(rule.(map[string]any)) {
			continue // a copy that sends what matches to the canary
		}
		refs, _ := rule.(map[string]any)["backendRefs"].([]any)
		var sum int64
		stable := false
		for _, ref := range refs {
			m := ref.(map[string]any)
			weight, ok := m["weight"].(int64)
			if !ok {
				weight = 1
			}
			sum += weight
			stable = stable || m["name"] == stableService
		}
		if !stable || sum == 0 {
			w.violate("T1", "rule %d has weight sum %d, stable present: %t", i, sum, stable)
		}
	}
}

// others is a route without what Belay may change.
func others(o *unstructured.Unstructured) string {
	o = o.DeepCopy()
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, rule := range rules {
		m := rule.(map[string]any)
		refs, _ := m["backendRefs"].([]any)
		var kept []any
		for _, ref := range refs {
			r := ref.(map[string]any)
			delete(r, "weight")
			if r["name"] != canaryService {
				kept = append(kept, r)
			}
		}
		m["backendRefs"] = kept
	}
	spec := o.Object["spec"].(map[string]any)
	spec["rules"] = slices.DeleteFunc(rules, func(r any) bool {
		m := r.(map[string]any)
		refs, _ := m["backendRefs"].([]any)
		name, _ := m["name"].(string)
		return (len(refs) == 0 || mirrors(m)) && strings.HasPrefix(name, "belay-")
	})
	data, err := json.Marshal(spec)
	if err != nil {
		panic(err) // plain data
	}
	return string(data)
}

// checkGrowth (T7): only what carries traffic, or is to, gets more pods: never a canary under a verdict, or one of the past, whatever an
// HPA asks for.
func (x *executor) checkGrowth(a planner.Scale) {
	st := &x.rollout.Status
	at := st.Attempt
	switch {
	case a.To <= a.From || st.Stable != nil && st.Stable.Revision == a.Revision:
	case at != nil && at.Revision == a.Revision && at.Verdict == nil:
	case at != nil && at.Stage == v1alpha1.StageBaking && st.Previous != nil && st.Previous.Revision == a.Revision: // it is to be warm
	default:
		x.violate("T7", "%s is scaled up from %d to %d, and nothing tries it", a.Revision, a.From, a.To)
	}
}

// checkScale: T4 and T5.
func (x *executor) checkScale(a planner.Scale) {
	x.checkGrowth(a)
	st, replicas := &x.rollout.Status, x.replicas()
	if st.Stable != nil && st.Stable.Revision == a.Revision && a.To < x.share(replicas) {
		x.violate("T5", "stable is scaled to %d of %d", a.To, x.share(replicas))
	}
	if st.Stable != nil && st.Stable.Revision == a.Revision && st.Attempt != nil && replicas > 0 && a.To < x.share(x.truth.floor) {
		x.violate("T5", "stable is scaled to %d in an attempt that has seen a need of %d", a.To, x.share(x.truth.floor))
	}
	_, most := x.plane()
	if s := x.services[1]; a.To < a.From && most > 0 && s.exists && s.revision == a.Revision && !x.truth.timedOut && !x.truth.foreign && replicas > 0 {
		if need := max(1, (3*((replicas*most+99)/100)+3)/4); a.To < need {
			x.violate("T4", "%s is scaled to %d while it may get weight %d and needs %d", a.Revision, a.To, most, need)
		}
	}
}

// checkRole (T6): the stable Service gets no pods of a revision on trial.
func (x *executor) checkRole(a planner.SetRole) {
	at := x.rollout.Status.Attempt
	if at == nil || a.Revision != at.Revision || a.Role != v1alpha1.RoleStable {
		return
	}
	if at.Stage == v1alpha1.StageStepping || at.Stage == v1alpha1.StageWithdrawing {
		x.violate("T6", "pods on trial get the stable role in stage %s", at.Stage)
	}
}

// checkPlan checks what the plan says by itself.
func (w *World) checkPlan(view planner.Observed, p planner.Plan) {
	was, is := view.Rollout.Status.Attempt, p.Status.Attempt
	if is != nil && is.Verdict != nil && (was == nil || was.Verdict == nil) {
		w.truth.count.Verdicts++
		w.say("verdict: %s (%s)", is.Verdict.Reason, is.Verdict.Message)
		if !p.Urgent || !p.Store {
			w.violate("T8", "a verdict falls but the plan is not urgent and stored")
		}
	}
	if is != nil && is.Verdict != nil && view.Rollout.DeletionTimestamp == nil {
		for _, r := range view.Routes {
			if r.Unread != "" {
				continue
			}
			_, most := w.weights(r.Object)
			most = reach(most, matched(r.Object) || mirrored(r.Object))
			if most > 0 && !slices.ContainsFunc(p.Actions, func(a planner.Action) bool {
				patch, ok := a.(planner.PatchRoute)
				return ok && patch.Name == r.Name && patch.Weight <= w.keeps(view, is) && !patch.Matches && !patch.Mirrors
			}) && (most > w.keeps(view, is) || matched(r.Object) || mirrored(r.Object)) {
				w.violate("T8", "route %s has weight %d under a verdict and is not taken back", r.Name, most)
			}
		}
	}
	w.checkDisturbed(view, was, is)
	if is != nil && is.Verdict == nil && is.ConfirmedAt != nil && (was == nil || was.ConfirmedAt == nil) {
		w.checkConfirmedMatch(view, is)
		for _, r := range view.Routes {
			if r.Unread != "" {
				w.violate("T11", "%d is confirmed while route %s cannot be read", is.Weight, r.Name)
				continue
			}
			if least, most := w.weights(r.Object); is.Stage == v1alpha1.StageStepping && (least != is.Weight || most != is.Weight) {
				w.violate("T11", "weight %d is confirmed while route %s carries %d to %d", is.Weight, r.Name, least, most)
			}
		}
	}
}

// checkReconciled checks what a reconciliation that could do all it wanted has reached (T5, T8).
func (w *World) checkReconciled(x *executor, err error) {
	if err != nil || x.failed || w.deleted || w.cfg.Stale {
		return
	}
	st := &w.rollout.Status
	if at := st.Attempt; at != nil && at.Verdict != nil && !w.unread && w.live() > w.keeps(x.view, at) {
		w.violate("T8", "routes carry %d after a reconciliation with a verdict", w.live())
	}
	if st.Stable != nil && st.Attempt != nil && w.sets[st.Stable.Revision] != nil && w.rollout.DeletionTimestamp == nil &&
		w.sets[st.Stable.Revision].wanted < w.share(w.replicas()) {
		w.violate("T5", "stable has %d of %d pods asked for", w.sets[st.Stable.Revision].wanted, w.replicas())
	}
	if at := st.Attempt; at != nil && at.Verdict == nil && at.ExposedAt != nil && w.live() > 0 && w.replicas() > 0 && st.Stable.Revision != at.Revision {
		had := min(needed(x.view, at), at.Available)
		if step := w.rollout.Spec.Steps(); int(at.Step) < len(step) && step[at.Step].Replicas != nil {
			had = 1
		}
		if have, need := w.ends[1][at.Revision], max(1, (3*had+3)/4); have < need {
			w.violate("T3", "routes give the canary %d with %d of %d endpoints, and the attempt goes on", w.live(), have, need)
		}
	}
	if at := st.Attempt; at != nil && at.Stage == v1alpha1.StageBaking && w.replicas() > 0 && st.Previous != nil &&
		w.serving(at.Revision) == 0 && w.serving(st.Previous.Revision) > 0 {
		w.violate("T3", "no pod of the promoted revision is ready, %d old ones are, and the bake goes on", w.serving(st.Previous.Revision))
	}
	if at := st.Attempt; at != nil && at.Stage == v1alpha1.StageStepping && at.Full == nil && !w.cfg.Pause {
		for _, name := range []string{fmt.Sprintf("shop-%d", at.Number), fmt.Sprintf("shop-%d-s%d", at.Number, at.Step)} {
			if run := w.runs[name]; run != nil && run.Status.Verdict == v1alpha1.VerdictFail && !meanwhile(run, at.Contest) {
				w.violate("T8", "run %s has failed and the attempt goes on", name)
			}
		}
	}
}

// serving counts the ready pods of a revision.
func (w *World) serving(revision string) (n int32) {
	for _, p := range w.pods {
		if p.Revision == revision && p.ready {
			n++
		}
	}
	return n
}

// checkAnswer: what is answered as applied is stored, so that it is neither lost nor repeated.
func (x *executor) checkAnswer(a planner.Answer) {
	for _, d := range x.decisions {
		if d.Name == a.Decision && a.Result == v1alpha1.DecisionApplied && !slices.Contains(x.rollout.Status.Decisions, string(d.UID)) {
			x.violate("D1", "decision %s is answered as applied but not stored", a.Decision)
		}
	}
}

// floor is the highest number of pods that was asked for since an attempt began.
func floor(view planner.Observed, was, is *v1alpha1.Attempt, so int32) int32 {
	asked := *view.Rollout.Spec.Replicas
	switch {
	case is == nil || asked == 0 || is.Stage == v1alpha1.StageInitial:
		return 0
	case was == nil || was.Number != is.Number:
		return asked
	}
	return max(so, asked)
}

// checkStatus checks a change of the stored status.
func (x *executor) checkStatus(view planner.Observed, was, is *v1alpha1.RolloutStatus) {
	x.truth.floor = floor(view, was.Attempt, is.Attempt, x.truth.floor)
	x.checkGates(view, was, is)
	x.checkEnd(was, is)
	x.checkInconclusive(was.Attempt, is.Attempt)
	x.checkBlueGreen(was.Attempt, is.Attempt)
	a, b := was.Attempt, is.Attempt
	if a != nil && a.Verdict != nil && b != nil && a.Number == b.Number && !reflect.DeepEqual(a.Verdict, b.Verdict) {
		x.violate("T7", "a verdict is changed from %v to %v", a.Verdict, b.Verdict)
	}
	if b != nil && b.Full != nil && b.Full.Name == planner.ActorBelay && !slices.ContainsFunc(is.History, func(h v1alpha1.AttemptRecord) bool {
		return h.Revision == b.Revision && h.Outcome == v1alpha1.OutcomePromoted
	}) {
		x.violate("A1", "attempt %d leaves its steps out, and revision %s was never promoted", b.Number, b.Revision)
	}
	if b != nil && (a == nil || a.Number != b.Number) {
		for _, q := range was.Quarantine {
			if q.Revision == b.Revision && slices.Equal(was.Decisions, is.Decisions) {
				x.violate("Q1", "attempt %d begins with revision %s in quarantine", b.Number, b.Revision)
			}
		}
	}
	if b != nil && b.Verdict != nil && b.Verdict.Reason == planner.ReasonAnalysisFailed && (a == nil || a.Verdict == nil) {
		if n := b.Number; !x.truth.bad[fmt.Sprintf("shop-%d", n)] && !x.truth.bad[fmt.Sprintf("shop-%d-s%d", n, b.Step)] {
			x.violate("A2", "attempt %d fails by analysis without a bad measurement", n)
		}
	}
	if b != nil && b.Verdict != nil && b.Verdict.Reason == planner.ReasonAnalysisFailed && a != nil && a.Verdict == nil && a.Stage == v1alpha1.StageStepping {
		if run := view.Runs[b.Verdict.Run]; run != nil && meanwhile(run, a.Contest) && meanwhile(run, b.Contest) {
			x.violate("T10", "attempt %d fails by what was measured at %s, while routes were not ours", b.Number, run.Status.Metrics[0].Recent[0].At)
		}
	}
	if b != nil && b.Verdict != nil && b.Verdict.Reason == planner.ReasonCanaryLost && (a == nil || a.Verdict == nil) &&
		!x.truth.lost && !x.truth.foreign && !x.truth.broke {
		x.violate("A3", "attempt %d lost no pod and is taken back as if it had", b.Number)
	}
	if v := was.Revert; is.Revert != nil && (v == nil || v.Attempt != is.Revert.Attempt) {
		x.checkRevert(is)
	}
}

func (x *executor) checkRevert(is *v1alpha1.RolloutStatus) {
	x.truth.count.Reverts++
	n := is.Revert.Attempt
	if x.truth.reverts[n]++; x.truth.reverts[n] > 1 {
		x.violate("G1", "attempt %d is reverted twice", n)
	}
	i := slices.IndexFunc(is.History, func(h v1alpha1.AttemptRecord) bool { return h.Number == n })
	if i < 0 || is.History[i].Outcome != v1alpha1.OutcomeRolledBack && is.History[i].Outcome != v1alpha1.OutcomeAborted {
		x.violate("G1", "attempt %d is reverted but did not fail", n)
	}
	if _, most := x.plane(); most > 0 && !x.truth.timedOut && !x.truth.foreign {
		x.violate("G2", "Git is asked to follow while traffic of %d may reach the canary", most)
	}
}

// checkEnd looks at how an attempt ends.
func (x *executor) checkEnd(was, is *v1alpha1.RolloutStatus) {
	a := was.Attempt
	if a == nil || is.Attempt != nil && is.Attempt.Number == a.Number {
		return
	}
	if len(is.History) == 0 || is.History[0].Number != a.Number {
		x.violate("H1", "attempt %d leaves no record", a.Number)
		return
	}
	h := is.History[0]
	if h.Outcome == v1alpha1.OutcomePromoted {
		x.truth.count.Promotions++
	}
	if baked := a.Stage == v1alpha1.StageBaking && h.Revision == x.template && h.Outcome == v1alpha1.OutcomePromoted; baked && !x.cfg.Stale && x.replicas() > 0 {
		if have, need := x.serving(a.Revision), min(x.replicas(), a.Available); have < max(1, need) {
			x.violate("T3", "the bake ends with %d of %d pods ready", have, need)
		}
	}
	if a.Verdict != nil {
		deadline := x.rollout.Spec.ProgressDeadline.Or(0)
		x.truth.timedOut = !x.now.Before(a.StageSince.Add(max(deadline, settle)))
		if h.Outcome != a.Verdict.Outcome {
			x.violate("T7", "attempt %d ends as %s against its verdict %s", a.Number, h.Outcome, a.Verdict.Outcome)
		}
		if _, most := x.plane(); most > 0 && !x.truth.timedOut && !x.truth.foreign {
			x.violate("T4", "attempt %d is over while traffic of %d may reach its pods", a.Number, most)
		}
	}
	failed := h.Outcome == v1alpha1.OutcomeRolledBack || h.Outcome == v1alpha1.OutcomeAborted
	if x.truth.retried && is.Revert != nil && is.Revert.Attempt == a.Number &&
		!slices.ContainsFunc(is.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == a.Revision }) {
		x.violate("G1", "attempt %d is reverted in Git though a person said to try it again", a.Number)
	}
	if failed && !slices.ContainsFunc(is.Quarantine, func(q v1alpha1.Quarantined) bool { return q.Revision == a.Revision }) {
		if slices.Equal(was.Decisions, is.Decisions) && !x.truth.retried {
			x.violate("Q1", "revision %s failed and is not in quarantine", a.Revision)
		}
	}
}

// checkGates (A1, A2): a step is left only with evidence gathered at its weight, or by a person.
func (x *executor) checkGates(view planner.Observed, was, is *v1alpha1.RolloutStatus) {
	a, b := was.Attempt, is.Attempt
	if a == nil || b == nil || a.Number != b.Number || a.Stage != v1alpha1.StageStepping || b.Verdict != nil ||
		b.Stage == a.Stage && b.Step <= a.Step || !slices.Equal(was.Decisions, is.Decisions) || a.Full != nil || x.truth.edited {
		return
	}
	confirmed := a.ConfirmedAt
	if confirmed == nil { // confirmed and left in one look: there can be no evidence yet
		at := metav1.NewTime(x.now)
		confirmed = &at
	}
	if b.Stage == v1alpha1.StageSwitching && a.Weight != 100 {
		x.violate("A1", "pods are switched at weight %d", a.Weight)
	}
	steps := x.rollout.Spec.Steps()
	var step v1alpha1.Step
	if int(a.Step) < len(steps) {
		step = steps[a.Step]
	}
	if x.now.Before(confirmed.Add(step.Hold.Or(0))) {
		x.violate("A1", "step %d is left before its hold is over", a.Step)
	}
	if step.Approval == v1alpha1.ApprovalRequired && !slices.ContainsFunc(a.Approvals, func(p v1alpha1.StepApproval) bool { return p.Step == a.Step }) {
		x.violate("A1", "step %d is left without approval", a.Step)
	}
	var names []string
	if x.cfg.Analysis && a.Exposes() {
		names = append(names, fmt.Sprintf("shop-%d", a.Number))
	}
	if step.Checks != nil {
		names = append(names, fmt.Sprintf("shop-%d-s%d", a.Number, a.Step))
	}
	if slices.Contains(b.Unproven, a.StepName) {
		if step.OnInconclusive != v1alpha1.InconclusiveProceed || step.MaxHold == "" || x.now.Before(confirmed.Add(step.MaxHold.Or(0))) {
			x.violate("A1", "step %d is left as unproven, which it does not allow yet", a.Step)
		}
		names = nil
	}
	for _, name := range names {
		if good, ok := x.truth.good[name]; !ok || good.Before(confirmed.Time) {
			x.violate("A1", "step %d is left without a good measurement of run %s since %s", a.Step, name, confirmed.Time)
		}
	}
	if x.rollout.Spec.Paused || a.Pause != nil {
		x.violate("A1", "step %d is left while paused", a.Step)
	}
}
