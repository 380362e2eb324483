package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rolloutFile = `apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: c, image: i}]
  traffic:
    stableService: shop
    routes: [{kind: HTTPRoute, name: shop}]
  strategy:
    canary:
      steps:
      - {weight: 10, hold: 1m}
      - {weight: 60, hold: 1m}
  analysis:
    templates: [{name: golden}]
    args: [{name: service, value: shop}]
  onFailure: {revert: {repository: fleet, path: apps/shop}}
---
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: golden}
spec:
  args: [{name: service}]
  metrics:
  - name: errors
    threshold: {max: "0.01", prometheus: {query: 'errors{service="{{args.service}}"}'}}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec: {rules: [{backendRefs: [{name: shop, port: 80}]}]}
---
apiVersion: belay.dev/v1alpha1
kind: Repository
metadata: {name: fleet}
spec: {url: "https://git/fleet.git", ref: {branch: main}, write: {}}
`

// canarySteps are the steps in rolloutFile.
const canarySteps = `    canary:
      steps:
      - {weight: 10, hold: 1m}
      - {weight: 60, hold: 1m}`

func lintText(t *testing.T, text string) []string {
	t.Helper()
	report, err := Run(t.Context(), schemas(t), []Source{{Name: "f.yaml", Content: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range report.Findings {
		out = append(out, f.String())
	}
	return out
}

// TestFindings changes one thing in files that are right; what is found must be that alone.
func TestFindings(t *testing.T) {
	if got := lintText(t, rolloutFile); len(got) > 0 {
		t.Fatalf("files that are right: %q", got)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"no container", "containers: [{name: c, image: i}]", "containers: []", "f.yaml:9: Rollout/shop: spec.template.spec.containers: a pod needs a container; give it at least one, with name and image"},
		{"no image", "image: i", "image: ''", `f.yaml:9: Rollout/shop: spec.template.spec.containers[0].image: container "c" has no image; name the image`},
		{"restart policy", "      containers", "      restartPolicy: Never\n      containers", "f.yaml:9: Rollout/shop: spec.template.spec.restartPolicy: Never is not possible for pods of a Rollout; use Always, or leave it out"},
		{"role label", "labels: {app: shop}", "labels: {app: shop, belay.dev/role: stable}", "f.yaml:7: Rollout/shop: spec.template.metadata.labels[belay.dev/role]: Belay itself keeps this label on pods; take it out"},
		{"weights", "weight: 60", "weight: 5", "f.yaml:17: Rollout/shop: spec.strategy.canary.steps[1].weight: warning: after this step the traffic goes from 5 straight to all 100; add a step of 50 or more, up to 100\nf.yaml:17: Rollout/shop: spec.strategy.canary.steps[1].weight: warning: the weight goes down from 10 to 5; use 10 or more"},
		{"preview without a gate", canarySteps, "    blueGreen: {approval: NotRequired}", "f.yaml:14: Rollout/shop: spec.strategy.blueGreen: warning: nothing is waited for before the switch: all users meet the new revision as soon as its pods are ready; set hold, prePromotion or approval"},
		{"preview with an unknown template", canarySteps, "    blueGreen: {prePromotion: {templates: [{name: silver}]}}", `f.yaml:14: Rollout/shop: spec.strategy.blueGreen.prePromotion.templates[0].name: AnalysisTemplate "silver" is not in these files; add it, or correct the name`},
		{"switch with an unknown template", canarySteps, "    blueGreen: {hold: 1m, postPromotion: {templates: [{name: silver}]}}", `f.yaml:14: Rollout/shop: spec.strategy.blueGreen.postPromotion.templates[0].name: AnalysisTemplate "silver" is not in these files; add it, or correct the name`},
		{"preview", canarySteps, "    blueGreen: {hold: 1m}", ""},
		{"service", "metadata: {name: shop}\nspec: {selector", "metadata: {name: other}\nspec: {selector", `f.yaml:11: Rollout/shop: spec.traffic.stableService: warning: Service "shop" is not in these files; add it, or make sure that it is in the cluster`},
		{"service selector", "spec: {selector: {app: shop}}", "spec: {selector: {app: x}}", "f.yaml:35: Service/shop: spec.selector[app]: no pod of Rollout shop has the label app=x; select a label of spec.template.metadata.labels"},
		{"canary service", "metadata: {name: shop}\nspec: {selector", "metadata: {name: shop-canary}\nspec: {selector", "f.yaml:11: Rollout/shop: spec.traffic.stableService: warning: Service \"shop\" is not in these files; add it, or make sure that it is in the cluster\nf.yaml:34: Service/shop-canary: metadata.name: Belay creates and owns Service shop-canary, the canary Service of Rollout shop; take it out of the files, or name another in spec.traffic.canaryService"},
		{"route", "backendRefs: [{name: shop,", "backendRefs: [{name: other,", "f.yaml:40: HTTPRoute/shop: spec.rules: no rule refers to Service shop, the stable Service of Rollout shop; add a backendRef to Service shop"},
		{"canary in route", "[{name: shop, port: 80}]", "[{name: shop, port: 80}, {name: shop-canary, port: 80}]", "f.yaml:40: HTTPRoute/shop: spec.rules[0].backendRefs[1]: Git must say 100 % stable, but Service shop-canary has weight; set weight: 0, or take the reference out: Belay adds it while it needs it"},
		{"template", "templates: [{name: golden}]", "templates: [{name: silver}]", `f.yaml:19: Rollout/shop: spec.analysis.templates[0].name: AnalysisTemplate "silver" is not in these files; add it, or correct the name`},
		{"a cluster's template", "templates: [{name: golden}]", "templates: [{kind: ClusterAnalysisTemplate, name: golden}]", `f.yaml:19: Rollout/shop: spec.analysis.templates[0].name: ClusterAnalysisTemplate "golden" is not in these files; add it, or correct the name`},
		{"argument", "\n    args: [{name: service, value: shop}]", "", `f.yaml:18: Rollout/shop: spec.analysis: AnalysisTemplate "golden" needs a value for its argument "service"`},
		{"metrics that pass for good", `threshold: {max: "0.01",`, `threshold: {max: "0.01", count: 5,`, `f.yaml:18: Rollout/shop: spec.analysis: warning: errors pass for good once, as metrics with count and jobs do: the steps after that and the bake are not judged; add a metric without count, or use these in the checks of steps`},
		{"repository", "main}, write: {}", "main}", `f.yaml:21: Rollout/shop: spec.onFailure.revert.repository: Repository "fleet" may not be written to, so nothing can be reverted; set spec.write in Repository fleet, or take revert out`},
		{"value of a container", "path: apps/shop}", "values: [{file: v.yaml, path: tag, container: d}]}", `f.yaml:21: Rollout/shop: spec.onFailure.revert.values[0].container: the pod template has no container "d" with an image; name a container of spec.template`},
		{"value of a field", "path: apps/shop}", "values: [{file: v.yaml, path: tag, field: spec.hostname}]}", `f.yaml:21: Rollout/shop: spec.onFailure.revert.values[0].field: warning: spec.template does not have field spec.hostname; check the path, or set the field`},
		{"value of a list", "path: apps/shop}", "values: [{file: v.yaml, path: tag, field: spec.containers}]}", `f.yaml:21: Rollout/shop: spec.onFailure.revert.values[0].field: field spec.containers of the pod template is neither text, nor a number, nor a boolean; name a single value`},
		{"value", "path: apps/shop}", "values: [{file: v.yaml, path: tag, container: c, part: Tag}]}", ""},
		{"unknown field", "  traffic:", "  traffik: 1\n  traffic:", "f.yaml:10: Rollout/shop: spec.traffik: this field is not known; did you mean traffic?"},
		{"unknown kind", "kind: Repository", "kind: Repositry", "f.yaml:43: Repositry/fleet: kind: belay.dev/v1alpha1 has no kind Repositry; known are: belay.dev/v1alpha1 AnalysisRun, belay.dev/v1alpha1 AnalysisTemplate, belay.dev/v1alpha1 ClusterAnalysisTemplate, belay.dev/v1alpha1 ClusterDeliveryPolicy, belay.dev/v1alpha1 Decision, belay.dev/v1alpha1 DeliveryPolicy, belay.dev/v1alpha1 Repository, belay.dev/v1alpha1 Rollout, belay.dev/v1alpha1 Sync"},
		{"key twice", "  onFailure:", "  paused: true\n  paused: false\n  onFailure:", "f.yaml:22: spec.paused: the key was given before, in line 21; keep one of the two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(rolloutFile, c.old) == 0 {
				t.Fatalf("%q is not in the file", c.old)
			}
			got := strings.Join(lintText(t, strings.Replace(rolloutFile, c.old, c.new, 1)), "\n")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlaceholderThatNothingFills(t *testing.T) {
	got := lintText(t, strings.Replace(rolloutFile, "{{args.service}}", "{{args.servce}}", 1))
	if len(got) != 1 || !strings.HasPrefix(got[0], "f.yaml:30: AnalysisTemplate/golden: spec.metrics[0].threshold.prometheus.query:") {
		t.Errorf("got %q", got)
	}
}

func TestSyntaxErrorHasItsLine(t *testing.T) {
	got := lintText(t, "a: b\nc: [\n")
	if len(got) != 1 || !strings.Contains(got[0], "this is not valid YAML") {
		t.Errorf("got %q", got)
	}
}

func TestListItemsAreChecked(t *testing.T) {
	got := lintText(t, "apiVersion: v1\nkind: List\nitems:\n- apiVersion: belay.dev/v1alpha1\n  kind: Sync\n  metadata: {name: x}\n  spec: {repository: r, path: /x, serviceAccountName: s}\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "f.yaml:7: Sync/x: spec.path:") {
		t.Errorf("got %q", got)
	}
}

func TestLargeInputIsRefused(t *testing.T) {
	if _, err := ReadSources([]string{"-"}, strings.NewReader(strings.Repeat(" ", maxFileBytes+1))); err == nil {
		t.Error("no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(rolloutFile)
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		docs, findings := parse(Source{Name: "f", Content: []byte(text)})
		_ = fmt.Sprint(len(docs), findings)
	})
}

// TestClusterAnalysisTemplate: one of the cluster serves Rollouts of every namespace, and is checked like any other.
func TestClusterAnalysisTemplate(t *testing.T) {
	shared := strings.NewReplacer("kind: AnalysisTemplate\n", "kind: ClusterAnalysisTemplate\n", "metadata: {name: shop}\nspec:\n  selector", "metadata: {name: shop, namespace: team-a}\nspec:\n  selector",
		"templates: [{name: golden}]", "templates: [{kind: ClusterAnalysisTemplate, name: golden}]").Replace(rolloutFile)
	if got := lintText(t, shared); len(got) > 0 {
		t.Errorf("files that are right: %q", got)
	}
	got := lintText(t, strings.Replace(shared, `{{args.service}}`, `{{args.nobody}}`, 1))
	if len(got) != 1 || !strings.Contains(got[0], `ClusterAnalysisTemplate/golden: spec.metrics[0].threshold.prometheus.query`) {
		t.Errorf("a query with an argument that is not declared: %q", got)
	}
}

// TestG41_AValueOfTwoRollouts: a revert of one would take the other back.
func TestG41_AValueOfTwoRollouts(t *testing.T) {
	one, _, _ := strings.Cut(strings.Replace(rolloutFile, "path: apps/shop}", "values: [{file: ./v.yaml, path: tag, container: c}]}", 1), "---\n")
	two := strings.NewReplacer("./v.yaml", "v.yaml", "name: shop", "name: cart").Replace(one)
	found := strings.Join(lintText(t, one+"---\n"+two), "\n")
	for _, want := range []string{"Rollout/shop: spec.onFailure.revert.values[0]: warning: Rollout cart names the same place", "Rollout/cart: spec.onFailure.revert.values[0]: warning: Rollout shop names the same place"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not among:\n%s", want, found)
		}
	}
}
