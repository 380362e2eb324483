package lint

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func (b *bundle) checkRollout(r typed[v1alpha1.Rollout]) []Finding {
	out := checkPodTemplate(r)
	if r.v.Spec.Strategy.BlueGreen != nil {
		out = append(out, checkPreview(r)...)
	} else {
		out = append(out, checkSteps(r)...)
	}
	out = append(out, b.checkServices(r)...)
	for i, ref := range r.v.Spec.Traffic.Routes {
		out = append(out, b.checkRoute(r, fmt.Sprintf("spec.traffic.routes[%d]", i), ref)...)
		if j := slices.IndexFunc(r.v.Spec.Traffic.Routes[:i], func(o v1alpha1.RouteReference) bool {
			return o.Kind == ref.Kind && o.Name == ref.Name && routeNamespace(r, o) == routeNamespace(r, ref)
		}); j >= 0 {
			out = append(out, r.errorf(fmt.Sprintf("spec.traffic.routes[%d]", i), "name it once, with all of the rules", "it is the same route as spec.traffic.routes[%d]", j))
		}
	}
	if r.v.Spec.Analysis != nil {
		found := b.checkAnalysis(r, "spec.analysis", r.v.Spec.Analysis)
		if len(found) == 0 {
			found = b.checkLasting(r)
		}
		out = append(out, found...)
	}
	for i, s := range r.v.Spec.Steps() {
		path := fmt.Sprintf("spec.strategy.canary.steps[%d].checks", i)
		if r.v.Spec.Strategy.BlueGreen != nil {
			path = "spec.strategy.blueGreen." + []string{"prePromotion", "postPromotion"}[i]
		}
		if s.Checks != nil {
			out = append(out, b.checkAnalysis(r, path, s.Checks)...)
		}
	}
	for _, check := range []func(typed[v1alpha1.Rollout]) []Finding{b.checkRoleMetadata, b.checkShares, b.checkBypasses, b.checkRevert, b.checkAutoscaler} {
		out = append(out, check(r)...)
	}
	return out
}

func checkPodTemplate(r typed[v1alpha1.Rollout]) []Finding {
	const path = "spec.template.spec"
	var out []Finding
	if r.v.Spec.WorkloadRef != nil {
		return nil // the API server checks the template of a Deployment
	}
	pod := &r.v.Spec.Template.Spec
	if len(pod.Containers) == 0 {
		out = append(out, r.errorf(path+".containers", "give it at least one, with name and image", "a pod needs a container"))
	}
	for i := range pod.Containers {
		out = append(out, checkContainer(r, fmt.Sprintf("%s.containers[%d]", path, i), &pod.Containers[i])...)
	}
	for i := range pod.InitContainers {
		out = append(out, checkContainer(r, fmt.Sprintf("%s.initContainers[%d]", path, i), &pod.InitContainers[i])...)
	}
	if p := pod.RestartPolicy; p != "" && p != corev1.RestartPolicyAlways {
		out = append(out, r.errorf(path+".restartPolicy", "use Always, or leave it out", "%s is not possible for pods of a Rollout", p))
	}
	if pod.ActiveDeadlineSeconds != nil {
		out = append(out, r.errorf(path+".activeDeadlineSeconds", "take it out", "pods of a Rollout cannot have a deadline"))
	}
	for key, value := range r.v.Spec.Template.Labels {
		at := fmt.Sprintf("spec.template.metadata.labels[%s]", key)
		switch {
		case key == v1alpha1.LabelRole || key == v1alpha1.LabelRevision:
			out = append(out, r.errorf(at, "take it out", "Belay itself keeps this label on pods"))
		case len(validation.IsQualifiedName(key)) > 0:
			out = append(out, r.errorf(at, "", "the name of the label is not valid: %s", validation.IsQualifiedName(key)[0]))
		case len(validation.IsValidLabelValue(value)) > 0:
			out = append(out, r.errorf(at, "", "the value of the label is not valid: %s", validation.IsValidLabelValue(value)[0]))
		}
	}
	for key := range r.v.Spec.Selector.MatchLabels {
		if key == v1alpha1.LabelRole || key == v1alpha1.LabelRevision {
			out = append(out, r.errorf(fmt.Sprintf("spec.selector.matchLabels[%s]", key), "select by labels of your own",
				"this label changes during a rollout, and the selector must not"))
		}
	}
	return out
}

func checkContainer(r typed[v1alpha1.Rollout], path string, c *corev1.Container) []Finding {
	var out []Finding
	if problems := validation.IsDNS1123Label(c.Name); len(problems) > 0 {
		out = append(out, r.errorf(path+".name", "", "the container's name is not valid: %s", problems[0]))
	}
	if c.Image == "" {
		out = append(out, r.errorf(path+".image", "name the image", "container %q has no image", c.Name))
	}
	return out
}

func checkSteps(r typed[v1alpha1.Rollout]) []Finding {
	const path = "spec.strategy.canary.steps"
	var out []Finding
	steps := r.v.Spec.Steps()
	total := r.v.Spec.Traffic.TotalWeight
	var highest int32
	exposed := false
	for i := range steps {
		weight := weightOf(&steps[i])
		exposed = exposed || steps[i].Exposes()
		if weight < highest {
			out = append(out, r.warnf(fmt.Sprintf("%s[%d].weight", path, i), fmt.Sprintf("use %d or more", highest),
				"the weight goes down from %d to %d", highest, weight))
		}
		highest = max(highest, weight)
		if leavesAtOnce(&steps[i]) && r.v.Spec.Analysis == nil {
			out = append(out, r.warnf(fmt.Sprintf("%s[%d]", path, i), "set hold, checks or approval, or spec.analysis",
				"nothing is waited for in this step: it is left as soon as its traffic is confirmed"))
		}
	}
	last := len(steps) - 1
	switch weight := weightOf(&steps[last]); {
	case !exposed:
		out = append(out, r.warnf(path, "give at least one step a weight", "no step exposes the new revision: promotion would be the first time that users meet it"))
	case weight*2 < total:
		out = append(out, r.warnf(fmt.Sprintf("%s[%d].weight", path, last), fmt.Sprintf("add a step of %d or more, up to %d", total/2, total),
			"after this step the traffic goes from %d straight to all %d", weight, total))
	}
	return out
}

func checkPreview(r typed[v1alpha1.Rollout]) []Finding {
	if steps := r.v.Spec.Steps(); leavesAtOnce(&steps[0]) {
		return []Finding{r.warnf("spec.strategy.blueGreen", "set hold, prePromotion or approval",
			"nothing is waited for before the switch: all users meet the new revision as soon as its pods are ready")}
	}
	return nil
}

func weightOf(s *v1alpha1.Step) int32 {
	if s.Weight == nil {
		return 0
	}
	return *s.Weight
}

func leavesAtOnce(s *v1alpha1.Step) bool {
	return s.Hold.Or(0) == time.Duration(0) && s.Checks == nil && s.Approval != v1alpha1.ApprovalRequired
}

func canaryService(r typed[v1alpha1.Rollout]) string {
	if name := r.v.Spec.Traffic.CanaryService; name != "" {
		return name
	}
	return r.v.Spec.Traffic.StableService + "-canary"
}

func (b *bundle) checkServices(r typed[v1alpha1.Rollout]) []Finding {
	var out []Finding
	if s, ok := find(b.services, r.document, canaryService(r)); ok {
		out = append(out, s.errorf("metadata.name", "take it out of the files, or name another in spec.traffic.canaryService",
			"Belay creates and owns Service %s, the canary Service of Rollout %s", s.object.GetName(), r.object.GetName()))
	}
	name := r.v.Spec.Traffic.StableService
	s, ok := find(b.services, r.document, name)
	if !ok {
		if len(b.services) > 0 {
			out = append(out, r.warnf("spec.traffic.stableService", "add it, or make sure that it is in the cluster", "Service %q is not in these files", name))
		}
		return out
	}
	if len(s.v.Spec.Selector) == 0 {
		return append(out, s.errorf("spec.selector", "select the labels of Rollout "+r.object.GetName(), "the stable Service needs a selector"))
	}
	for key, value := range s.v.Spec.Selector {
		at := fmt.Sprintf("spec.selector[%s]", key)
		have, there := r.v.Spec.Template.Labels[key]
		switch {
		case key == v1alpha1.LabelRole:
			if value != string(v1alpha1.RoleStable) {
				out = append(out, s.errorf(at, "use stable, or leave it out", "the stable Service must not select role %q", value))
			}
		case key == v1alpha1.LabelRevision:
			out = append(out, s.errorf(at, "take it out", "the stable Service must not select a revision: it would be empty after the next promotion"))
		case r.v.Spec.WorkloadRef == nil && (!there || have != value):
			out = append(out, s.errorf(at, "select a label of spec.template.metadata.labels", "no pod of Rollout %s has the label %s=%s", r.object.GetName(), key, value))
		}
	}
	return out
}

// routeNamespace is the namespace of a route that a Rollout names; unset where neither says.
func routeNamespace(r typed[v1alpha1.Rollout], ref v1alpha1.RouteReference) string {
	if ref.Namespace != "" {
		return ref.Namespace
	}
	return r.object.GetNamespace()
}

// findRoute looks for a route that a Rollout names.
func (b *bundle) findRoute(r typed[v1alpha1.Rollout], ref v1alpha1.RouteReference) (typed[route], bool) {
	want := routeNamespace(r, ref)
	for _, candidate := range b.routes {
		have := candidate.object.GetNamespace()
		if candidate.gvk().Kind == ref.Kind && candidate.object.GetName() == ref.Name && (have == want || have == "" || want == "") {
			return candidate, true
		}
	}
	return typed[route]{}, false
}

// checkRuleNames finds names of rules that the route does not have, or whose rule is about something else.
func checkRuleNames(rt typed[route], path string, r typed[v1alpha1.Rollout], ref v1alpha1.RouteReference) []Finding {
	var out []Finding
	for i, name := range ref.Rules {
		j := slices.IndexFunc(rt.v.Spec.Rules, func(rule routeRule) bool { return rule.Name == name })
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		switch {
		case j < 0:
			out = append(out, r.errorf(at, "name a rule of the route: spec.rules[].name", "%s %s has no rule %q", ref.Kind, ref.Name, name))
		case !rt.v.Spec.Rules[j].refersTo(r.v.Spec.Traffic.StableService):
			out = append(out, r.errorf(at, "name a rule that refers to the stable Service", "rule %q of %s %s does not refer to Service %s", name, ref.Kind, ref.Name, r.v.Spec.Traffic.StableService))
		}
	}
	return out
}

func (b *bundle) checkRoute(r typed[v1alpha1.Rollout], path string, ref v1alpha1.RouteReference) []Finding {
	rt, ok := b.findRoute(r, ref)
	if !ok {
		if len(b.routes) == 0 {
			return nil
		}
		return []Finding{r.warnf(path+".name", "add it, or make sure that it is in the cluster", "%s %q is not in these files", ref.Kind, ref.Name)}
	}
	stable, canary := r.v.Spec.Traffic.StableService, canaryService(r)
	var out []Finding
	found := false
	for i, rule := range rt.v.Spec.Rules {
		for j, ref := range rule.BackendRefs {
			found = found || ref.isService(stable)
			if ref.isService(canary) && (ref.Weight == nil || *ref.Weight != 0) {
				out = append(out, rt.errorf(fmt.Sprintf("spec.rules[%d].backendRefs[%d]", i, j), "set weight: 0, or take the reference out: Belay adds it while it needs it",
					"Git must say 100 %% stable, but Service %s has weight", canary))
			}
		}
	}
	if !found {
		return append(out, rt.errorf("spec.rules", fmt.Sprintf("add a backendRef to Service %s", stable),
			"no rule refers to Service %s, the stable Service of Rollout %s", stable, r.object.GetName()))
	}
	return append(append(out, checkRuleNames(rt, path, r, ref)...), b.checkMatches(r, rt, ref)...)
}
