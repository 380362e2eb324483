package analysis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func ptr[T any](v T) *T { return &v }

func arg(name, value string) v1alpha1.Argument { return v1alpha1.Argument{Name: name, Value: &value} }

func needed(name string) v1alpha1.Argument { return v1alpha1.Argument{Name: name} }

func metric(name, query string) v1alpha1.Metric {
	return v1alpha1.Metric{Name: name, Threshold: v1alpha1.Threshold{
		Prometheus: v1alpha1.PrometheusQuery{Query: query}, Max: ptr("0.01"), Interval: "30s",
	}}
}

func template(name string, args []v1alpha1.Argument, metrics ...v1alpha1.Metric) v1alpha1.AnalysisTemplate {
	t := v1alpha1.AnalysisTemplate{Spec: v1alpha1.AnalysisTemplateSpec{Args: args, Metrics: metrics}}
	t.Name = name
	return t
}

func reference(args []v1alpha1.Argument, names ...string) v1alpha1.AnalysisReference {
	ref := v1alpha1.AnalysisReference{Args: args}
	for _, n := range names {
		ref.Templates = append(ref.Templates, v1alpha1.TemplateReference{Name: n})
	}
	return ref
}

func TestResolve(t *testing.T) {
	args := func(a ...v1alpha1.Argument) []v1alpha1.Argument { return a }
	golden := template("golden", args(needed("service"), arg("code", "5..")), metric("errors", `e{s="{{args.service}}",c=~"{{args.code}}"}`), metric("latency", "l"))
	extra := template("extra", args(arg("code", "4..")), metric("clients", `c{c=~"{{ args.code }}",p=~"{{canary.pods}}"}`))
	for name, tc := range map[string]struct {
		templates []v1alpha1.AnalysisTemplate
		ref       v1alpha1.AnalysisReference
		metrics   []string
		args      []v1alpha1.Argument
		err       []string // each must be in the error
	}{
		"defaults and given values": {
			templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(args(arg("service", "shop")), "golden"),
			metrics: []string{"errors", "latency"}, args: args(arg("code", "5.."), arg("service", "shop")),
		},
		"order of the reference, not of the list": {
			templates: []v1alpha1.AnalysisTemplate{golden, extra}, ref: reference(args(arg("service", "shop"), arg("code", "x")), "extra", "golden"),
			metrics: []string{"clients", "errors", "latency"}, args: args(arg("code", "x"), arg("service", "shop")),
		},
		"unused templates do not matter": {
			templates: []v1alpha1.AnalysisTemplate{golden, extra}, ref: reference(nil, "extra"),
			metrics: []string{"clients"}, args: args(arg("code", "4..")),
		},
		"an empty value is a value": {
			templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(args(arg("service", "")), "golden"),
			metrics: []string{"errors", "latency"}, args: args(arg("code", "5.."), arg("service", "")),
		},
		"missing template":       {templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(nil, "other"), err: []string{`"other"`, "does not exist"}},
		"missing value":          {templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(nil, "golden"), err: []string{`"golden"`, `"service"`, "needs a value"}},
		"given without a value":  {templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(args(needed("service")), "golden"), err: []string{`"golden"`, `"service"`}},
		"unknown argument":       {templates: []v1alpha1.AnalysisTemplate{golden}, ref: reference(args(arg("service", "a"), arg("servcie", "b")), "golden"), err: []string{`"golden"`, `"servcie"`, "not declared"}},
		"defaults that disagree": {templates: []v1alpha1.AnalysisTemplate{golden, extra}, ref: reference(args(arg("service", "a")), "golden", "extra"), err: []string{`"golden"`, `"extra"`, `"code"`}},
		"needed by one, default of the other": {
			templates: []v1alpha1.AnalysisTemplate{extra, template("strict", args(needed("code")), metric("m", "q"))},
			ref:       reference(nil, "extra", "strict"), err: []string{`"strict"`, `"code"`, "needs a value"},
		},
		"same metric twice": {
			templates: []v1alpha1.AnalysisTemplate{golden, template("other", nil, metric("errors", "q"))},
			ref:       reference(args(arg("service", "a")), "golden", "other"), err: []string{`"errors"`, `"golden"`, `"other"`},
		},
		"query with an undeclared argument": {
			templates: []v1alpha1.AnalysisTemplate{template("a", args(arg("x", "1")), metric("m", "q{{args.y}}"))},
			ref:       reference(nil, "a"), err: []string{`"a"`, `"m"`, "{{args.y}}", "{{args.x}}", "{{namespace}}"},
		},
		"query with an unknown placeholder": {
			templates: []v1alpha1.AnalysisTemplate{template("a", nil, metric("m", "{{canary.pod}}"))},
			ref:       reference(nil, "a"), err: []string{`"a"`, `"m"`, "{{canary.pod}}", "{{canary.pods}}"},
		},
		"query that does not close": {
			templates: []v1alpha1.AnalysisTemplate{template("a", nil, metric("m", "{{namespace"))},
			ref:       reference(nil, "a"), err: []string{`"a"`, `"m"`, "}}"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			metrics, got, err := Resolve(tc.templates, tc.ref)
			if len(tc.err) > 0 {
				if err == nil {
					t.Fatalf("no error, want one with %q", tc.err)
				}
				for _, want := range tc.err {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q does not say %s", err, want)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range metrics {
				names = append(names, m.Name)
			}
			if d := cmp.Diff(tc.metrics, names); d != "" {
				t.Errorf("metrics: %s", d)
			}
			if d := cmp.Diff(tc.args, got); d != "" {
				t.Errorf("args: %s", d)
			}
		})
	}
}

func TestResolveSharesNothing(t *testing.T) {
	in := template("a", []v1alpha1.Argument{arg("x", "1")}, metric("m", "q"))
	metrics, args, err := Resolve([]v1alpha1.AnalysisTemplate{in}, reference(nil, "a"))
	if err != nil {
		t.Fatal(err)
	}
	*metrics[0].Threshold.Max, *args[0].Value = "9", "9"
	if *in.Spec.Metrics[0].Threshold.Max != "0.01" || *in.Spec.Args[0].Value != "1" {
		t.Error("the result shares memory with the template, which lives in a cache")
	}
}

func TestResolveBoundsARun(t *testing.T) {
	var all []v1alpha1.AnalysisTemplate
	var names []string
	for i := range 5 {
		var ms []v1alpha1.Metric
		for j := range 16 {
			ms = append(ms, metric(string(rune('a'+i))+string(rune('a'+j)), "q"))
		}
		name := string(rune('a' + i))
		all, names = append(all, template(name, nil, ms...)), append(names, name)
	}
	if _, _, err := Resolve(all, reference(nil, names[:4]...)); err != nil {
		t.Errorf("64 metrics: %v", err)
	}
	if _, _, err := Resolve(all, reference(nil, names...)); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Errorf("80 metrics: %v", err)
	}
}

// TestResolveTellsKindsApart: an AnalysisTemplate and a ClusterAnalysisTemplate may have the same name.
func TestResolveTellsKindsApart(t *testing.T) {
	own := template("golden", nil, metric("own", "o"))
	shared := (&v1alpha1.ClusterAnalysisTemplate{ObjectMeta: own.ObjectMeta, Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{metric("shared", "s")}}}).AsTemplate()
	ref := v1alpha1.AnalysisReference{Templates: []v1alpha1.TemplateReference{{Kind: v1alpha1.KindClusterAnalysisTemplate, Name: "golden"}, {Name: "golden"}}}
	metrics, _, err := Resolve([]v1alpha1.AnalysisTemplate{own, shared}, ref)
	if err != nil || len(metrics) != 2 || metrics[0].Name != "shared" || metrics[1].Name != "own" {
		t.Errorf("got %+v, %v: want shared, own", metrics, err)
	}
	if _, _, err = Resolve([]v1alpha1.AnalysisTemplate{own}, ref); err == nil || !strings.Contains(err.Error(), `ClusterAnalysisTemplate "golden" does not exist`) {
		t.Errorf("one that is not there: %v", err)
	}
	shared.Spec.Metrics[0].Name = "own"
	if _, _, err = Resolve([]v1alpha1.AnalysisTemplate{own, shared}, ref); err == nil || !strings.Contains(err.Error(), `is in ClusterAnalysisTemplate "golden" and in AnalysisTemplate "golden"`) {
		t.Errorf("a metric of both: %v", err)
	}
}
