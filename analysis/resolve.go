package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/analysis/presets"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// The most that an AnalysisRun takes, as its schema says.
const (
	maxRunMetrics = 64
	maxRunArgs    = 64
)

// Resolve merges the metrics of the templates that ref names, in the order of ref, and gives their arguments values:
// from ref, else the template's default. Presets are filled in. The result is what an AnalysisRun's spec takes; arguments are
// sorted by name.
//
// It is an error, and names the template, when a template is missing, two templates name the same metric, an argument
// has no value, ref gives an argument that no template declares, two templates disagree on the default of an argument
// that ref does not give, or a query uses a placeholder that does not exist or an argument that its template does not
// declare.
func Resolve(templates []v1alpha1.AnalysisTemplate, ref v1alpha1.AnalysisReference) ([]v1alpha1.Metric, []v1alpha1.Argument, error) {
	chosen, err := choose(templates, ref)
	if err != nil {
		return nil, nil, err
	}
	args, err := resolveArgs(chosen, ref.Args)
	if err != nil {
		return nil, nil, err
	}
	metrics, err := mergeMetrics(chosen)
	if err != nil {
		return nil, nil, err
	}
	if len(metrics) > maxRunMetrics || len(args) > maxRunArgs {
		return nil, nil, fmt.Errorf("the templates have %d metrics and %d arguments together: a run takes at most %d and %d",
			len(metrics), len(args), maxRunMetrics, maxRunArgs)
	}
	return metrics, args, nil
}

func choose(templates []v1alpha1.AnalysisTemplate, ref v1alpha1.AnalysisReference) ([]v1alpha1.AnalysisTemplate, error) {
	chosen := make([]v1alpha1.AnalysisTemplate, 0, len(ref.Templates))
	for _, r := range ref.Templates {
		i := slices.IndexFunc(templates, func(t v1alpha1.AnalysisTemplate) bool { return t.Name == r.Name && t.TemplateKind() == r.Kind.Or() })
		if i < 0 {
			return nil, fmt.Errorf("%s %q does not exist", r.Kind.Or(), r.Name)
		}
		chosen = append(chosen, templates[i])
	}
	return chosen, nil
}

func mergeMetrics(templates []v1alpha1.AnalysisTemplate) ([]v1alpha1.Metric, error) {
	owner := map[string]string{} // metric → template
	var metrics []v1alpha1.Metric
	for _, t := range templates {
		for _, m := range t.Spec.Metrics {
			if other, taken := owner[m.Name]; taken {
				return nil, fmt.Errorf("metric %q is in %s and in %s: a metric name may occur once", m.Name, other, called(t))
			}
			owner[m.Name] = called(t)
			filled, err := presets.Fill(m.Compare)
			if err != nil {
				return nil, fmt.Errorf("%s, metric %q: compare.preset: %w", called(t), m.Name, err)
			}
			m.Compare = filled
			if err := checkQuery(t, m); err != nil {
				return nil, err
			}
			metrics = append(metrics, *m.DeepCopy())
		}
	}
	return metrics, nil
}

// checkQuery refuses placeholders that can never be expanded, before anything is rolled out.
func checkQuery(t v1alpha1.AnalysisTemplate, m v1alpha1.Metric) error {
	if _, field, err := Compile(m); err != nil {
		return fmt.Errorf("%s, metric %q: %s: %w", called(t), m.Name, field, err)
	}
	for _, text := range texts(m) {
		names, err := placeholders(text)
		if err != nil {
			return fmt.Errorf("%s, metric %q: %w", called(t), m.Name, err)
		}
		for _, name := range names {
			if text.plain && strings.HasSuffix(name, ".pods") {
				return fmt.Errorf("%s, metric %q: %s: placeholder {{%s}} is a regular expression, and has no place here", called(t), m.Name, text.field, name)
			}
			if arg, isArg := strings.CutPrefix(name, argsPrefix); isArg && declares(t, arg) || isBuiltIn(name) {
				continue
			}
			return fmt.Errorf("%s, metric %q: %w", called(t), m.Name, unknownPlaceholder(name, argNames(t.Spec.Args)))
		}
	}
	return nil
}

// placeholders of a text, by name.
func placeholders(t text) ([]string, error) {
	var names []string
	if t.expression || t.plain {
		for _, match := range placeholder.FindAllStringSubmatch(t.value, -1) {
			names = append(names, match[1])
		}
		return names, nil
	}
	parts, err := parseQuery(t.value)
	for _, p := range parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names, err
}

func resolveArgs(templates []v1alpha1.AnalysisTemplate, given []v1alpha1.Argument) ([]v1alpha1.Argument, error) {
	values := map[string]string{}
	for _, a := range given {
		if !slices.ContainsFunc(templates, func(t v1alpha1.AnalysisTemplate) bool { return declares(t, a.Name) }) {
			return nil, fmt.Errorf("argument %q is not declared by %s", a.Name, templateNames(templates))
		}
		if a.Value != nil {
			values[a.Name] = *a.Value
		}
	}
	if err := addDefaults(values, templates); err != nil {
		return nil, err
	}
	args := make([]v1alpha1.Argument, 0, len(values))
	for name, value := range values {
		args = append(args, v1alpha1.Argument{Name: name, Value: &value})
	}
	slices.SortFunc(args, func(a, b v1alpha1.Argument) int { return strings.Compare(a.Name, b.Name) })
	return args, nil
}

// addDefaults puts the templates' defaults in for what was not given.
func addDefaults(values map[string]string, templates []v1alpha1.AnalysisTemplate) error {
	source := map[string]string{} // argument → template whose default it has
	for _, t := range templates {
		for _, a := range t.Spec.Args {
			value, known := values[a.Name]
			from, isDefault := source[a.Name]
			switch {
			case known && !isDefault: // given
			case a.Value == nil:
				return fmt.Errorf("%s needs a value for its argument %q", called(t), a.Name)
			case known && value != *a.Value:
				return fmt.Errorf("%s and %s have different defaults for argument %q: give it a value", from, called(t), a.Name)
			default:
				values[a.Name], source[a.Name] = *a.Value, called(t)
			}
		}
	}
	return nil
}

// called names a template for people.
func called(t v1alpha1.AnalysisTemplate) string {
	return fmt.Sprintf("%s %q", t.TemplateKind(), t.Name)
}

func declares(t v1alpha1.AnalysisTemplate, arg string) bool {
	return slices.ContainsFunc(t.Spec.Args, func(a v1alpha1.Argument) bool { return a.Name == arg })
}

func argNames(args []v1alpha1.Argument) []string {
	names := make([]string, 0, len(args))
	for _, a := range args {
		names = append(names, a.Name)
	}
	return names
}

func templateNames(templates []v1alpha1.AnalysisTemplate) string {
	names := make([]string, 0, len(templates))
	for _, t := range templates {
		names = append(names, called(t))
	}
	return strings.Join(names, ", ")
}
