package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// kubelets starts, readies and removes pods of a revision; of every one when it is empty.
func (w *World) kubelets(revision string) {
	for _, k := range slices.Sorted(maps.Keys(w.sets)) {
		if revision == "" || k == revision {
			w.kubelet(w.sets[k])
		}
	}
}

func (w *World) kubelet(s *replicaSet) {
	pods := slices.Clone(w.pods)
	var have int32
	for i := range pods {
		p := &pods[i]
		if p.Revision != s.revision {
			continue
		}
		have++
		p.broken = w.broken[s.revision]
		switch {
		case p.broken && !p.ready:
			p.Waiting, p.Restarts = "CrashLoopBackOff", p.Restarts+1
		case !p.broken:
			if !p.ready {
				p.since = w.now
			}
			p.ready, p.Waiting, p.Restarts = true, "", 0
		}
	}
	for ; have < s.wanted; have++ {
		w.podCount++
		pods = append(pods, pod{Pod: planner.Pod{Name: "p" + strconv.Itoa(w.podCount), Revision: s.revision, Role: s.role, Created: w.now}})
	}
	for ; have > s.wanted; have-- {
		pods = withoutOne(pods, s.revision)
	}
	w.pods = pods
	w.count(s)
}

// withoutOne removes a pod of a revision: one that is not ready first, else the newest.
func withoutOne(pods []pod, revision string) []pod {
	victim := -1
	for i, p := range pods {
		if p.Revision == revision && (victim < 0 || !p.ready || pods[victim].ready) {
			victim = i
		}
	}
	return slices.Delete(pods, victim, victim+1)
}

func (w *World) count(s *replicaSet) {
	s.current, s.ready, s.available = 0, 0, 0
	for _, p := range w.pods {
		if p.Revision == s.revision {
			s.current++
			if p.ready {
				s.ready++
			}
			if p.ready && !w.now.Before(p.since.Add(time.Duration(w.cfg.MinReady)*time.Second)) {
				s.available++
			}
		}
	}
}

// selected counts the ready pods of a Service by revision, as things are.
func (w *World) selected(i int) map[string]int32 {
	s, out := w.services[i], map[string]int32{}
	if !s.exists {
		return out
	}
	for _, p := range w.pods {
		if p.ready && (s.role == "" || s.role == string(p.Role)) && (s.revision == "" || s.revision == p.Revision) {
			out[p.Revision]++
		}
	}
	return out
}

func (w *World) endpointSlices(i int) { w.ends[i] = w.selected(i) }

// publish lets the gateway accept every route as it is.
func (w *World) publish() {
	for _, r := range w.routes {
		if r.object.Object["status"] != nil && !r.plane[len(r.plane)-1].published.IsZero() {
			continue
		}
		o := r.object.DeepCopy()
		conditions := []any{}
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			conditions = append(conditions, map[string]any{"type": kind, "status": "True", "reason": kind, "observedGeneration": o.GetGeneration()})
		}
		o.Object["status"] = map[string]any{"parents": []any{map[string]any{"controllerName": "gw.example/c",
			"parentRef": map[string]any{"name": "gw"}, "conditions": conditions}}}
		r.setStatus(o)
		last := &r.plane[len(r.plane)-1]
		if last.published.IsZero() {
			last.published = w.now
		}
	}
}

func (r *route) setStatus(o *unstructured.Unstructured) {
	if fmt.Sprint(o.Object["status"]) == fmt.Sprint(r.object.Object["status"]) {
		return
	}
	r.version++
	o.SetResourceVersion(strconv.Itoa(r.version))
	r.object = o
}

// write stores another version of a route.
func (w *World) write(r *route, o *unstructured.Unstructured) {
	r.version++
	o.SetResourceVersion(strconv.Itoa(r.version))
	o.SetGeneration(r.object.GetGeneration() + 1)
	r.object = o
	least, most := w.weights(o)
	r.plane = append(slices.Clone(r.plane), written{min: least, max: reach(most, matched(o) || mirrored(o))})
}

// weights are the canary's least and greatest share over the rules of a route.
func (w *World) weights(o *unstructured.Unstructured) (least, most int32) {
	v := w.seen.inspect(o, gatewayapi.Split{Namespace: "n", StableService: stableService, CanaryService: canaryService, Total: 100, Owner: "n/shop"})
	return v.MinCanary, v.MaxCanary
}

// plane is the least and greatest share that the canary may have in the data plane now. Requests that match count as 1 at
// least.
func (w *World) plane() (least, most int32) {
	least = 100
	for _, r := range w.routes {
		first := 0
		for i, v := range r.plane {
			if !v.published.IsZero() && !w.now.Before(v.published.Add(settle)) {
				first = i
			}
		}
		r.plane = r.plane[first:]
		for _, v := range r.plane {
			least, most = min(least, v.min), max(most, v.max)
		}
	}
	if most == 0 {
		w.truth.timedOut = false // the gateways have followed in the end
	}
	return least, most
}

// live is the greatest share that any route gives the canary now; requests that match and copies count as 1 at least.
func (w *World) live() int32 {
	var most int32
	for _, r := range w.routes {
		_, m := w.weights(r.object)
		most = max(most, reach(m, matched(r.object) || mirrored(r.object)))
	}
	return most
}

// measure lets every running AnalysisRun take a measurement.
func (w *World) measure() {
	runs := maps.Clone(w.runs)
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		run := runs[name]
		if run.Spec.State == v1alpha1.RunStopped || run.Status.Verdict == v1alpha1.VerdictFail {
			continue
		}
		next := run.DeepCopy()
		w.judge(name, next)
		runs[name] = next
	}
	w.runs = runs
}

func (w *World) judge(name string, run *v1alpha1.AnalysisRun) {
	st := &run.Status
	var passed *metav1.Time
	if len(st.Metrics) > 0 {
		passed = st.Metrics[0].LastPassedAt
	}
	m := v1alpha1.MetricStatus{Name: "errors", Mode: v1alpha1.MetricEnforce, LastPassedAt: passed, Verdict: v1alpha1.VerdictPending}
	dry := v1alpha1.MetricStatus{Name: "latency", Mode: v1alpha1.MetricDryRun, Verdict: v1alpha1.VerdictFail, Message: "dry run"}
	switch {
	case w.providerDown && w.cfg.Pause:
		m.Verdict, st.Message = v1alpha1.VerdictPause, "Prometheus does not answer"
	case w.providerDown:
		m.Verdict, st.Message = v1alpha1.VerdictHold, "Prometheus does not answer"
	case w.noData:
		st.Message = "no data"
	case w.bad[run.Spec.Arms.CanaryRevision]:
		m.Verdict, st.Message = v1alpha1.VerdictFail, "errors: 0.2 is above 0.01"
		m.Recent = []v1alpha1.Measurement{{At: metav1.NewTime(w.now.Truncate(time.Second)), Value: "0.2", Result: "Failed"}}
		w.truth.bad[name] = true
	default:
		at := metav1.NewTime(w.now.Truncate(time.Second))
		if steps := run.Spec.Steps; !w.cfg.Compare {
			w.truth.good[name] = w.now
		} else if len(steps) == 0 || !at.After(steps[len(steps)-1].Since.Time) {
			st.Message = "nothing is proven of this step yet" // what is proven is proven of one step
			break
		} else {
			w.truth.good[name] = steps[len(steps)-1].Since.Time
			m.Comparison = &v1alpha1.Comparison{Step: steps[len(steps)-1].DeepCopy()}
		}
		m.Verdict, m.LastPassedAt, st.Message = v1alpha1.VerdictPass, &at, "within bounds"
	}
	st.ObservedGeneration = run.Generation
	st.Verdict, st.Metrics = m.Verdict, []v1alpha1.MetricStatus{m, dry}
}

// foreignRoute is somebody else's write of a route.
func (w *World) foreignRoute(i, how int) {
	r := w.routes[i%len(w.routes)]
	o := r.object.DeepCopy()
	switch how % 4 {
	case 0: // Git's version again
		o.SetAnnotations(nil)
		o.Object["spec"] = w.gitRoute(i % len(w.routes)).Object["spec"]
		r.edited = false
	case 1: // the annotation is stripped
		o.SetAnnotations(nil)
	case 2: // the canary is given more than it should have
		setWeights(o, 20, 80)
	case 3: // another timeout, as a user may wish
		r.edit(o)
	}
	w.truth.foreign = true
	w.write(r, o)
}

// setWeights sets weights in the first rule, where it refers to both Services.
func setWeights(o *unstructured.Unstructured, stable, canary int64) {
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	refs, _ := rules[0].(map[string]any)["backendRefs"].([]any)
	if len(refs) < 2 {
		return
	}
	for _, ref := range refs {
		m := ref.(map[string]any)
		m["weight"] = map[any]int64{stableService: stable, canaryService: canary}[m["name"]]
	}
	o.Object["spec"].(map[string]any)["rules"] = rules
}

// revertBot commits the way back, as the revert controller would.
func (w *World) revertBot() {
	r := w.rollout.Status.Revert
	if r == nil || r.State != v1alpha1.RevertPending {
		return
	}
	w.version++
	w.rollout = w.rollout.DeepCopy()
	if w.template == r.Bad {
		w.rollout.Status.Revert.State = v1alpha1.RevertPushed
		w.setTemplate(r.Good)
		return
	}
	w.rollout.Status.Revert.State = v1alpha1.RevertNotNeeded
}

func (w *World) setTemplate(revision string) {
	if w.template != revision {
		w.template = revision
		w.version++
		w.rollout.Generation++
	}
}

// podLost makes a ready pod of a revision unready.
func (w *World) podLost(revision string) {
	w.pods = slices.Clone(w.pods)
	for i := range w.pods {
		if w.pods[i].Revision == revision && w.pods[i].ready {
			w.pods[i].ready = false
			w.truth.lost = true
			break
		}
	}
	if s := w.sets[revision]; s != nil {
		w.count(s)
	}
}
