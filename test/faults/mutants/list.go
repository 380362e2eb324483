package main

// mutant is one change that breaks a rule.
type mutant struct{ name, breaks, file, old, new string }

const (
	planner = "controllers/rollout/planner/"
	shell   = "controllers/rollout/"
)

var mutants = []mutant{
	{"settle is not waited for", "T4", planner + "traffic.go", "if !d.passed(*a.AcceptedAt, d.settle()) {", "if false {"},
	{"route status is not read", "T10", planner + "traffic.go", "if ok, why := d.programmed(r); !ok {", "if ok, why := d.programmed(r); !ok && false {"},
	{"a foreign write keeps the clock", "T10", planner + "traffic.go", "		if a.CarriedAt != nil {\n			d.foreign(r)\n		}\n		a.CarriedAt, a.AcceptedAt, a.ConfirmedAt = nil, nil, nil\n", "		if a.CarriedAt != nil {\n			d.foreign(r)\n		}\n"},
	{"raised with too few endpoints", "T3", planner + "traffic.go", "case have < max(1, need):", "case have < 0:"},
	{"raised before pods are available", "T3", planner + "traffic.go", "case d.available(a.Revision) < max(1, need):", "case false:"},
	{"raised before endpoints settle", "T3", planner + "traffic.go", "case d.liveWeight() == 0 && !d.endpointsSettled():", "case false:"},
	{"raised behind an unlabelled stable", "T6", planner + "traffic.go", "case d.Stable.Role != string(v1alpha1.RoleStable):", "case false:"},
	{"the canary Service keeps the bad one", "T8", planner + "world.go", "if d.Canary.Exists && d.Canary.Role != string(v1alpha1.RoleStable) {", "if false {"},
	{"the canary Service moves under weight", "T6", planner + "world.go", "if d.Canary.Exists && d.Canary.Revision != a.Revision && d.reachable() {", "if false {"},
	{"pods leave with too few left", "T6", planner + "world.go", "if (role == v1alpha1.RoleStable) != stable || !stable && d.carries(rs.Revision) {", "if (role == v1alpha1.RoleStable) != stable {"},
	{"the canary goes before its traffic", "T4", planner + "world.go", "		return rs.Wanted, \"\" // until no traffic can reach it\n", "		return 0, \"\"\n"},
	{"stable follows the canary's share", "T5", planner + "world.go", "return d.stableSize(rs)", "return d.replicas() - d.canaryTarget(), \"\""},
	{"dynamic stable gives up too early", "T5", planner + "dynamic.go", "carried := min(a.ConfirmedWeight, a.Weight, d.leastWeight())", "carried := a.Weight"},
	{"dynamic abort waits for no pod", "T5", planner + "dynamic.go", "	return left\n", "	return 0 * left\n"},
	{"dynamic abort floods stable", "T5", planner + "dynamic.go", "a.Verdict.Reason == ReasonCanaryLost || d.passed(", "a.Verdict.Reason == ReasonCanaryLost || a.Verdict.Reason == ReasonPodsFailed || d.passed("},
	{"stable follows an HPA down", "T5", planner + "plan.go", "return max(asked, d.s.Attempt.Replicas)", "return asked"},
	{"canary pods in the selector at once", "T6", planner + "world.go", "if !d.witnessed(rs.Revision) {", "if false {"},
	{"old proof opens the gate", "A1", planner + "gates.go", "		if why := d.evidence(d.backgroundName(), *a.ConfirmedAt); why != \"\" {\n			return why\n		}\n", ""},
	{"hold is not kept", "A1", planner + "gates.go", "if hold := step.Hold.Or(0); !d.passed(*a.ConfirmedAt, hold) {", "if hold := step.Hold.Or(0); false {"},
	{"approval is not asked for", "A1", planner + "gates.go", "step.Approval == v1alpha1.ApprovalRequired && missing > 0 {", "false {"},
	{"a lost canary is not noticed", "T3", planner + "gates.go", "if have >= need {", "if true {"},
	{"a lost bake is not noticed", "T3", planner + "gates.go", "if have >= need || warm <= have {", "if true {"},
	{"the bake ends without pods", "T3", planner + "advance.go", "have < need && d.replicas() > 0 {\n		d.block(fmt.Sprintf(\"promoted; the old", "false {\n		d.block(fmt.Sprintf(\"promoted; the old"},
	{"a decision about the last attempt", "A1", planner + "decisions.go", "case a == nil || a.Number > *dec.Spec.Attempt:", "case a == nil:"},
	{"a failed revision starts again", "A1", planner + "advance.go", "if i := d.quarantined(); i >= 0 {", "if i := d.quarantined(); i >= 99 {"},
	{"back before the gateway is", "T4", planner + "withdraw.go", "	if left := d.Stable.Endpoints[a.Revision] + d.Canary.Endpoints[a.Revision]; left > 0 {", "	if left := 0; left > 0 {"},
	{"switched with too few new pods", "T6", planner + "advance.go", "d.waitForPods(fmt.Sprintf(\"%d of %d new pods are endpoints of Service %s\", have, want, d.Stable.Name))\n		return\n", "d.waitForPods(fmt.Sprintf(\"%d of %d new pods are endpoints of Service %s\", have, want, d.Stable.Name))\n"},
	{"intent is stored after the writes", "T7", shell + "report.go", "	if w.plan.Store {\n		if wrote", "	if false {\n		if wrote"},
	{"one failure ends the way back", "T8", shell + "report.go", "		if !w.plan.Urgent {\n			break\n		}\n", "		break\n"},
	{"the finalizer goes too early", "T9", shell + "report.go", "if f, ok := a.(planner.SetFinalizer); ok && !f.Present && len(failed) > 0 {", "if f, ok := a.(planner.SetFinalizer); ok && !f.Present && false {"},
	{"raised on a plan of yesterday", "T7", shell + "apply.go", "if now.ResourceVersion != w.rollout.ResourceVersion {", "if false {"},
	{"the only pod is taken away", "T6", planner + "restart.go", "	return 2\n", "	return d.replicas()\n"},
	{"a copy goes around a policy", "T2", planner + "policies.go", "if slices.Contains(copied, p.Rule) {", "if slices.Contains(copied, p.Rule) && false {"},
	{"a second ReplicaSet at adoption", "T5", shell + "apply.go", "return metav1.IsControlledBy(&rs, w.rollout) && rs.DeletionTimestamp == nil", "return false"},
	{"a canary Service of nobody's", "T2", shell + "apply.go", "	case canary == nil:\n		return w.createCanary(ctx, stable, selector)\n", "	case canary == nil:\n		return nil\n"},
}
