package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// placeholders that a query may use besides {{args.…}}; true where they need arms.
var placeholders = map[string]bool{
	"namespace":       false,
	"canary.pods":     true,
	"stable.pods":     true,
	"canary.revision": true,
	"stable.revision": true,
	"canary.service":  true,
	"stable.service":  true,
}

var placeholder = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

func argNames(args []v1alpha1.Argument) map[string]bool {
	out := map[string]bool{}
	for _, a := range args {
		out[a.Name] = true
	}
	return out
}

// checkPlaceholders looks for placeholders that nothing fills.
func checkPlaceholders(doc *document, path string, metrics []v1alpha1.Metric, args map[string]bool) []Finding {
	var out []Finding
	for i := range metrics {
		at := fmt.Sprintf("%s[%d].threshold.prometheus.query", path, i)
		for _, m := range placeholder.FindAllStringSubmatch(metrics[i].Threshold.Prometheus.Query, -1) {
			name := strings.TrimSpace(m[1])
			arg, isArg := strings.CutPrefix(name, "args.")
			_, known := placeholders[name]
			switch {
			case isArg && !args[arg]:
				out = append(out, doc.errorf(at, "add it to spec.args", "the query uses argument %q, which is not declared", arg))
			case !isArg && !known:
				out = append(out, doc.errorf(at, "use args.<name>, namespace, or pods, revision or service of canary and stable", "nothing fills the placeholder {{%s}}", name))
			}
		}
	}
	return out
}

// checkRun checks an AnalysisRun that stands on its own.
func checkRun(r typed[v1alpha1.AnalysisRun]) []Finding {
	out := checkPlaceholders(r.document, "spec.metrics", r.v.Spec.Metrics, argNames(r.v.Spec.Args))
	for i, a := range r.v.Spec.Args {
		if a.Value == nil {
			out = append(out, r.errorf(fmt.Sprintf("spec.args[%d].value", i), "give it", "argument %q has no value", a.Name))
		}
	}
	if r.v.Spec.Arms != nil {
		return out
	}
	for i := range r.v.Spec.Metrics {
		for _, m := range placeholder.FindAllStringSubmatch(r.v.Spec.Metrics[i].Threshold.Prometheus.Query, -1) {
			if placeholders[strings.TrimSpace(m[1])] {
				out = append(out, r.errorf(fmt.Sprintf("spec.metrics[%d].threshold.prometheus.query", i), "set spec.arms",
					"the query uses {{%s}}, but the run has no arms", strings.TrimSpace(m[1])))
			}
		}
	}
	return out
}

// checkAnalysis checks that templates exist, metrics have one name each, and every argument gets a value.
func (b *bundle) checkAnalysis(r typed[v1alpha1.Rollout], path string, ref *v1alpha1.AnalysisReference) []Finding {
	if len(b.templates) == 0 {
		return []Finding{r.warnf(path+".templates", "give lint their files too", "no AnalysisTemplate is in these files: references and arguments were not checked")}
	}
	var out []Finding
	metricOf := map[string]string{}
	declared := map[string]bool{}
	complete := true
	for i, name := range ref.Templates {
		at := fmt.Sprintf("%s.templates[%d].name", path, i)
		t, ok := find(b.templates, r.document, name.Name)
		if !ok {
			complete = false
			out = append(out, r.errorf(at, "add it, or correct the name", "AnalysisTemplate %q is not in these files", name.Name))
			continue
		}
		for _, m := range t.v.Spec.Metrics {
			if before, dup := metricOf[m.Name]; dup {
				out = append(out, r.errorf(at, "rename one of them", "metric %q is in AnalysisTemplates %s and %s", m.Name, before, name.Name))
			}
			metricOf[m.Name] = name.Name
		}
		for _, a := range t.v.Spec.Args {
			declared[a.Name] = true
			if a.Value == nil && !hasValue(ref.Args, a.Name) {
				out = append(out, r.errorf(path+".args", fmt.Sprintf("add {name: %s, value: …}", a.Name),
					"AnalysisTemplate %s needs a value for argument %q", name.Name, a.Name))
			}
		}
	}
	for i, a := range ref.Args {
		if complete && !declared[a.Name] {
			out = append(out, r.errorf(fmt.Sprintf("%s.args[%d].name", path, i), "take it out, or correct the name", "no template takes an argument %q", a.Name))
		}
	}
	return out
}

func hasValue(args []v1alpha1.Argument, name string) bool {
	return slices.ContainsFunc(args, func(a v1alpha1.Argument) bool { return a.Name == name && a.Value != nil })
}
