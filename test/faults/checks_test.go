package faults

import (
	"cmp"
	"fmt"
	"sort"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// checks hold the invariants against what is stored after each write of the reconciler.
type checks struct {
	weight int64 // the canary's highest share of 100 before
	stable int32 // how many pods were asked of the stable revision before
	count  int
	outage bool // the serving pods have died: that the stable Service is empty is not Belay's doing
	found  []string
	// confirmed is when the step of an attempt was last said to be, and disturbed when somebody has changed a route in it.
	of                   [2]int64 // number and step
	confirmed, disturbed time.Time
}

func (c *checks) violate(w *world, after, id, format string, args ...any) {
	v := fmt.Sprintf("%s after %s: %s", id, after, fmt.Sprintf(format, args...))
	c.found = append(c.found, v)
	w.t.Errorf("%s: %s", w.t.Name(), v)
}

// seen is what the checks look at.
type seen struct {
	ro       *v1alpha1.Rollout
	services map[string]*corev1.Service
	pods     corev1.PodList
	sets     map[string]*appsv1.ReplicaSet
	rules    []refs
}

func (w *world) see() *seen {
	ctx, s := w.t.Context(), &seen{ro: w.get(), services: map[string]*corev1.Service{}, sets: map[string]*appsv1.ReplicaSet{}}
	if s.ro != nil && s.ro.Spec.Replicas == nil {
		s.ro.Spec.Replicas = ptr.To[int32](2) // as the Deployment says, or said
	}
	for _, r := range w.routes() {
		s.rules = append(s.rules, rules(r)...)
	}
	var services corev1.ServiceList
	var sets appsv1.ReplicaSetList
	w.list(ctx, &services)
	w.list(ctx, &sets)
	w.list(ctx, &s.pods)
	for i := range services.Items {
		s.services[services.Items[i].Name] = &services.Items[i]
	}
	for i := range sets.Items {
		s.sets[sets.Items[i].Labels[v1alpha1.LabelRevision]] = &sets.Items[i]
	}
	return s
}

func (c *checks) after(w *world, effect string) {
	w.plane.requests()
	s := w.see()
	if s.ro == nil {
		return
	}
	c.count++
	weight := c.routes(w, s, effect)
	c.raise(w, s, effect, weight)
	c.endpoints(w, s, effect, weight)
	c.weight = weight
	c.evidence(w, s, effect)
	c.capacity(w, s, effect)
}

// routes checks T1 and T2, and gives the canary's highest share of 100.
func (c *checks) routes(w *world, s *seen, effect string) int64 {
	share := int64(0)
	for _, r := range s.rules {
		if r.sum == 0 {
			c.violate(w, effect, "T1", "the weights of rule %q sum to 0", r.name)
		}
		if !r.hasStable && !r.copy && r.name != "else" {
			c.violate(w, effect, "T1", "rule %q lacks stable", r.name)
		}
		if pair := r.canary + r.stable; r.hasCanary && !r.copy && pair > 0 {
			share = max(share, (100*r.canary+pair-1)/pair)
		} else if r.copy {
			share = max(share, 1)
		}
		if canary := s.services[app+"-canary"]; r.hasCanary && (canary == nil || canary.Spec.Ports[0].Port != 80) {
			c.violate(w, effect, "T2", "rule %q refers to a canary Service that does not exist with that port", r.name)
		}
	}
	return share
}

// raise checks T7: up only to what is stored, and never after a verdict.
func (c *checks) raise(w *world, s *seen, effect string, weight int64) {
	allowed := int64(0)
	if a := s.ro.Status.Attempt; a != nil && a.Verdict == nil && s.ro.DeletionTimestamp == nil {
		switch a.Stage {
		case v1alpha1.StageStepping:
			allowed = int64(a.Weight)
			if a.Match != nil || a.Mirror != nil {
				allowed = max(1, allowed)
			}
		case v1alpha1.StageSwitching, v1alpha1.StageRetiring:
			allowed = 100
		}
	}
	if weight > c.weight && weight > allowed {
		c.violate(w, effect, "T7", "the canary's share goes from %d to %d where %d is stored", c.weight, weight, allowed)
	}
}

// evidence checks T10 and T11: a step is confirmed only while every route carries it, and goes on only by what was confirmed after the
// last change by somebody else.
func (c *checks) evidence(w *world, s *seen, effect string) {
	a := s.ro.Status.Attempt
	if a == nil || a.Stage != v1alpha1.StageStepping || a.Verdict != nil || s.ro.DeletionTimestamp != nil {
		return
	}
	if of := [2]int64{a.Number, int64(a.Step)}; of != c.of {
		if of[0] == c.of[0] && of[1] > c.of[1] && !c.disturbed.IsZero() && !c.confirmed.After(c.disturbed) {
			c.violate(w, effect, "T10", "step %d is over by evidence of %s, where a route was changed at %s", c.of[1], c.confirmed, c.disturbed)
		}
		c.of, c.confirmed, c.disturbed = of, time.Time{}, time.Time{}
	}
	if a.ConfirmedAt == nil {
		return
	}
	c.confirmed = a.ConfirmedAt.Time
	if a.Match != nil || a.Mirror != nil || strings.HasPrefix(effect, "the end") || !strings.Contains(effect, " Rollout ") {
		return
	}
	for _, r := range s.rules {
		if pair := r.canary + r.stable; r.hasStable && 100*r.canary != pair*int64(a.Weight) && !c.disturbed.After(c.confirmed) {
			c.violate(w, effect, "T11", "%d is confirmed while rule %q has %d of %d", a.Weight, r.name, r.canary, pair)
		}
	}
}

// endpoints checks T3, T4 and T6.
func (c *checks) endpoints(w *world, s *seen, effect string, weight int64) {
	a := s.ro.Status.Attempt
	if a == nil || s.ro.Status.Stable == nil || s.ro.DeletionTimestamp != nil {
		return
	}
	stable, canary := s.services[app], s.services[app+"-canary"]
	if !c.outage && weight > c.weight && (canary == nil || len(selected(canary, &s.pods)) == 0) {
		c.violate(w, effect, "T3", "the canary has %d of the traffic, and no endpoint", weight)
	}
	rs := s.sets[a.Revision]
	if canary != nil && weight > 0 && canary.Spec.Selector[v1alpha1.LabelRevision] == a.Revision && *s.ro.Spec.Replicas > 0 && rs != nil && *rs.Spec.Replicas == 0 {
		c.violate(w, effect, "T4", "no pods are asked of the canary, while routes give it %d", weight)
	}
	if !c.outage && *s.ro.Spec.Replicas > 0 && len(selected(stable, &s.pods)) == 0 {
		c.violate(w, effect, "T6", "the stable Service is empty")
	}
	early := a.Verdict == nil && a.Stage == v1alpha1.StageStepping
	for _, p := range selected(stable, &s.pods) {
		if early && p.Labels[v1alpha1.LabelRevision] == a.Revision && stable.Spec.Selector[v1alpha1.LabelRole] != "" {
			c.violate(w, effect, "T6", "pod %s of the canary is in the stable Service before promotion", p.Name)
		}
	}
}

// capacity checks T5: 100 % stable is survivable until promotion is confirmed.
func (c *checks) capacity(w *world, s *seen, effect string) {
	a, stable := s.ro.Status.Attempt, s.ro.Status.Stable
	if a == nil || stable == nil || s.ro.DeletionTimestamp != nil || a.Stage == v1alpha1.StageBaking {
		return
	}
	if ca := s.ro.Spec.Strategy.Canary; ca != nil && ca.StableScale == v1alpha1.StableScaleDynamic {
		c.shared(w, s, effect)
		return
	}
	rs, before := s.sets[stable.Revision], c.stable
	c.stable = 0
	if rs != nil {
		c.stable = *rs.Spec.Replicas
	}
	if c.stable < min(before, *s.ro.Spec.Replicas) {
		c.violate(w, effect, "T5", "stable revision %s has %d pods asked of it, where %d are needed", stable.Revision, c.stable, *s.ro.Spec.Replicas)
	}
}

// shared checks what is left of T5 where stable gives up pods: those that are ready carry what the canary does not.
func (c *checks) shared(w *world, s *seen, effect string) {
	ready := int64(len(selected(s.services[app], &s.pods)))
	if need := int64(*s.ro.Spec.Replicas) * (100 - c.weight) / 100; ready < need {
		c.violate(w, effect, "T5", "%d stable pods are ready, where the canary has %d of 100: %d are needed", ready, c.weight, need)
	}
}

// end is what is left, without times and names that are made up.
type end struct {
	Gone                            bool
	Stable, Phase, Outcome, Reason  string
	Attempts                        int64
	History                         []string
	Sets, Roles, StableSel, Canary  map[string]string
	Quarantine, Conditions, Runs    []string
	Reverted, BadRevert, Finalizers string
	Deployment                      string
}

func (w *world) end() end {
	s, e := w.see(), end{Sets: map[string]string{}, Roles: map[string]string{}}
	for rev, rs := range s.sets {
		owner := "nobody"
		for _, o := range rs.OwnerReferences {
			if o.Controller != nil && *o.Controller {
				owner = o.Kind
			}
		}
		e.Sets[rev] = fmt.Sprintf("%d as %q of %s", *rs.Spec.Replicas, rs.Spec.Template.Labels[v1alpha1.LabelRole], owner)
	}
	for i := range s.pods.Items {
		p := &s.pods.Items[i]
		e.Roles[p.Labels[v1alpha1.LabelRevision]] += p.Labels[v1alpha1.LabelRole] + " "
	}
	e.StableSel = s.services[app].Spec.Selector
	// A canary Service that has the stable pods is as good as none: it is made by the first attempt that comes so far.
	if c := s.services[app+"-canary"]; c != nil && c.Spec.Selector[v1alpha1.LabelRole] == "" {
		e.Canary = c.Spec.Selector
	}
	var ds appsv1.DeploymentList
	w.list(w.t.Context(), &ds)
	for i := range ds.Items {
		e.Deployment = fmt.Sprintf("paused %t, %v", ds.Items[i].Spec.Paused, ds.Items[i].Annotations)
	}
	if s.ro == nil {
		e.Gone = true
		return e
	}
	st := s.ro.Status
	e.Phase, e.Attempts, e.Finalizers = st.Phase, st.Attempts, fmt.Sprint(s.ro.Finalizers)
	if st.Stable != nil {
		e.Stable = st.Stable.Revision
	}
	for _, h := range st.History {
		e.History = append(e.History, fmt.Sprintf("%d %s %s %s", h.Number, h.Revision, h.Outcome, h.Reason))
	}
	for _, q := range st.Quarantine {
		e.Quarantine = append(e.Quarantine, q.Revision)
	}
	for _, c := range st.Conditions {
		e.Conditions = append(e.Conditions, fmt.Sprintf("%s=%s (%s)", c.Type, c.Status, c.Reason))
	}
	sort.Strings(e.Conditions)
	if r := st.Revert; r != nil {
		e.BadRevert, e.Reverted = r.Bad, fmt.Sprint(r.State)
	}
	var runs v1alpha1.AnalysisRunList
	w.list(w.t.Context(), &runs)
	for _, r := range runs.Items {
		e.Runs = append(e.Runs, fmt.Sprintf("%s %s", r.Name, cmp.Or(r.Spec.State, v1alpha1.RunRunning)))
	}
	sort.Strings(e.Runs)
	return e
}

// restored checks T9 at rest, and L1: another look writes nothing.
func (w *world) restored() {
	w.t.Helper()
	for _, r := range w.routes() {
		if diff := gocmp.Diff(plain(w.git[r.GetName()]), plain(r.Object["spec"])); diff != "" || len(r.GetAnnotations()) > 0 {
			w.check.violate(w, "the end", "T9", "the route is not what Git says: %v %s", r.GetAnnotations(), diff)
		}
	}
	w.api.depth = 0
	before := w.api.tried
	for range 3 {
		w.look()
	}
	if n := w.api.tried - before; n > 0 {
		w.check.violate(w, "the end", "L1", "%d writes at rest: %v", n, w.api.seen[before:])
	}
}
