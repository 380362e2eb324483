package lint

import (
	"fmt"
	"strings"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// checkTemplate resolves each metric alone, with a value for every argument: what is left is wrong in the template.
func checkTemplate(t typed[v1alpha1.AnalysisTemplate]) []Finding {
	ref := v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Kind: t.v.TemplateKind(), Name: t.v.Name}}}
	for _, a := range t.v.Spec.Args {
		ref.Args = append(ref.Args, v1alpha1.Argument{Name: a.Name, Value: new("x")})
	}
	var out []Finding
	for i := range t.v.Spec.Metrics {
		alone := t.v.DeepCopy()
		alone.Spec.Metrics = alone.Spec.Metrics[i : i+1]
		field, wrong := analysis.Check(alone.Spec.Metrics[0], variables(ref.Args))
		if _, _, err := analysis.Resolve([]v1alpha1.AnalysisTemplate{*alone}, ref); err != nil {
			wrong = err
		}
		if wrong != nil {
			out = append(out, t.errorf(fieldPath(i, field), "", "%s", wrong))
		}
	}
	return out
}

func fieldPath(metric int, field string) string {
	return fmt.Sprintf("spec.metrics[%d].%s", metric, field)
}

// checkRun checks an AnalysisRun that stands on its own.
func checkRun(r typed[v1alpha1.AnalysisRun]) []Finding {
	var out []Finding
	for i, a := range r.v.Spec.Args {
		if a.Value == nil {
			out = append(out, r.errorf(fmt.Sprintf("spec.args[%d].value", i), "give it", "argument %q has no value", a.Name))
		}
	}
	vars := variables(r.v.Spec.Args)
	if r.v.Spec.Arms == nil {
		vars.Canary, vars.Stable = nil, nil
	}
	for i := range r.v.Spec.Metrics {
		if field, err := analysis.Check(r.v.Spec.Metrics[i], vars); err != nil {
			out = append(out, r.errorf(fieldPath(i, field), "", "%s", err))
		}
	}
	return out
}

// variables are the arguments' values, and arms that stand for real ones.
func variables(args []v1alpha1.Argument) analysis.Variables {
	values := map[string]string{}
	for _, a := range args {
		if a.Value != nil {
			values[a.Name] = *a.Value
		}
	}
	arm := &analysis.Arm{Pods: []string{"pod-a", "pod-b"}, Revision: "revision", Service: "service"}
	return analysis.Variables{Namespace: "namespace", Args: values, Canary: arm, Stable: arm}
}

// findTemplate looks for the template that a reference in a document names.
func (b *bundle) findTemplate(doc *document, ref v1alpha1.TemplateReference) (typed[v1alpha1.AnalysisTemplate], bool) {
	var kind []typed[v1alpha1.AnalysisTemplate]
	for _, t := range b.templates {
		if t.v.TemplateKind() == ref.Kind.Or() {
			kind = append(kind, t)
		}
	}
	return find(kind, doc, ref.Name)
}

// checkAnalysis checks that the templates exist, fit together, and that every query can be made.
func (b *bundle) checkAnalysis(r typed[v1alpha1.Rollout], path string, ref *v1alpha1.AnalysisReference) []Finding {
	if len(b.templates) == 0 {
		return []Finding{r.warnf(path+".templates", "give lint their files too", "no AnalysisTemplate is in these files: references and arguments were not checked")}
	}
	var out []Finding
	var templates []v1alpha1.AnalysisTemplate
	for i, name := range ref.Templates {
		t, ok := b.findTemplate(r.document, name)
		if !ok {
			out = append(out, r.errorf(fmt.Sprintf("%s.templates[%d].name", path, i), "add it, or correct the name", "%s %q is not in these files", name.Kind.Or(), name.Name))
			continue
		}
		if len(checkTemplate(t)) > 0 {
			return out // reported at the template
		}
		templates = append(templates, *t.v)
	}
	if len(out) > 0 {
		return out
	}
	metrics, args, err := analysis.Resolve(templates, *ref)
	if err != nil {
		return append(out, r.errorf(path, "", "%s", err))
	}
	for i := range metrics {
		if field, err := analysis.Check(metrics[i], variables(args)); err != nil {
			out = append(out, r.errorf(path, "", "metric %q: %s: %s", metrics[i].Name, field, err))
		}
	}
	return out
}

// checkLasting warns where nothing is judged beyond the first steps: metrics that pass for good have no say in those that follow. The
// analysis has been checked.
func (b *bundle) checkLasting(r typed[v1alpha1.Rollout]) []Finding {
	const path = "spec.analysis"
	var templates []v1alpha1.AnalysisTemplate
	for _, name := range r.v.Spec.Analysis.Templates {
		t, ok := b.findTemplate(r.document, name)
		if !ok {
			return nil
		}
		templates = append(templates, *t.v)
	}
	metrics, _, err := analysis.Resolve(templates, *r.v.Spec.Analysis)
	if err != nil {
		return nil
	}
	var once []string
	for i := range metrics {
		switch m := &metrics[i]; {
		case !m.Decides():
		case m.PassCount() == 0:
			return nil
		default:
			once = append(once, m.Name)
		}
	}
	if len(once) == 0 {
		return nil
	}
	return []Finding{r.warnf(path, "add a metric without count, or use these in the checks of steps",
		"%s pass for good once, as metrics with count and jobs do: the steps after that and the bake are not judged", strings.Join(once, ", "))}
}
