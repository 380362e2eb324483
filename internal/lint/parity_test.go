package lint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	crd "github.com/belay-delivery/belay/config/crd"
	"github.com/belay-delivery/belay/internal/testenv"
)

// valid holds one object of each kind that both accept; rows change it by JSON merge patches.
var valid = map[string]string{
	"Rollout": `
spec:
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i}]}}
  traffic: {stableService: a, canaryService: b, routes: [{kind: HTTPRoute, name: a}]}
  strategy: {canary: {steps: [{name: one, weight: 10, replicas: 1}, {name: two, weight: 50}]}}
  onFailure:
    revert:
      repository: r
      path: apps/a
      values: [{file: charts/a/values.yaml, path: image.tag, container: c, part: Tag}, {file: v.yaml, path: '.a[name=x][name="x]"]["y.]\"z"][0]', field: 'metadata.labels["a/b"]'}]
`,
	"Decision":                `spec: {subject: {kind: Rollout, name: a}, action: Promote, attempt: 1, step: 0, actor: me}`,
	"AnalysisTemplate":        validMetrics,
	"ClusterAnalysisTemplate": validMetrics,
	"AnalysisRun":             validMetrics,
	"Repository":              `spec: {url: "https://git/x.git", ref: {branch: main}, timeout: 10m, verify: {trustedSigners: {name: s}}, webhook: {secretRef: {name: w}}, write: {strategy: PullRequest, secretRef: {name: s}, forge: {type: Gitea, apiURL: "https://git/api/v1"}}}`,
	"Sync":                    `spec: {repository: r, path: apps, serviceAccountName: sa, interval: 1h, drift: {mode: Detect, ignore: [{kind: Deployment, paths: [.spec.replicas], managers: [vpa]}], fight: {corrections: 3, within: 1m}}}`,
}

// row is an object that both the API server and lint refuse, at field. With update, patch is applied to an existing one.
type row struct {
	kind, name string
	patch      string
	field      string
	// rule is the message of the CEL rule that refuses, where one does.
	rule   string
	update bool
	// status that the existing object has.
	status string
}

const metricsPatch = `{spec: {metrics: [{name: m, threshold: %s}]}}`
const (
	comparePatch = `{spec: {metrics: [{name: m, compare: %s}]}}`
	webPatch     = `{spec: {metrics: [{name: m, web: %s}]}}`
	bothPatch    = `{spec: {metrics: [{name: m, compare: %s, threshold: %s}]}}`
)

func metricRows(kind string) []row {
	at := "spec.metrics[0].threshold"
	return []row{
		{kind: kind, name: "no bounds", patch: fmt.Sprintf(metricsPatch, `{prometheus: {query: up}}`), field: at, rule: "threshold needs min, max or both, or condition"},
		{kind: kind, name: "min above max", patch: fmt.Sprintf(metricsPatch, `{min: "3", max: "2", prometheus: {query: up}}`), field: at, rule: "threshold.min must not exceed threshold.max"},
		{kind: kind, name: "interval", patch: fmt.Sprintf(metricsPatch, `{min: "3", interval: 10ms, prometheus: {query: up}}`), field: at + ".interval", rule: "interval must be at least 1s"},
		{kind: kind, name: "timeout", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, timeout: 61s}}`), field: at + ".prometheus.timeout", rule: "timeout must be above 0s and at most 60s"},
		{kind: kind, name: "secret without address", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, secretRef: {name: s}}}`), field: at + ".prometheus", rule: "secretRef needs address: credentials are never sent to the default server"},
		{kind: kind, name: "not a number", patch: fmt.Sprintf(metricsPatch, `{min: much, prometheus: {query: up}}`), field: at + ".min"},
		{kind: kind, name: "two judges", patch: fmt.Sprintf(bothPatch, `{latency: {histogram: h}}`, `{min: "1", prometheus: {query: up}}`), field: "spec.metrics[0]", rule: "exactly one of compare, threshold, web and job must be set"},
		{kind: kind, name: "no judge", patch: `{spec: {metrics: [{name: m}]}}`, field: "spec.metrics[0]", rule: "exactly one of compare, threshold, web and job must be set"},
		{kind: kind, name: "compare without data", patch: `{spec: {metrics: [{name: m, onNoData: Pass, compare: {latency: {histogram: h}}}]}}`, field: "spec.metrics[0]", rule: "onNoData of a compare metric is Wait: without data nothing is concluded"},
		{kind: kind, name: "compare nothing", patch: fmt.Sprintf(comparePatch, `{}`), field: "spec.metrics[0].compare", rule: "exactly one of errors, latency, gauge and restarts must be set"},
		{kind: kind, name: "errors without series", patch: fmt.Sprintf(comparePatch, `{errors: {total: t}}`), field: "spec.metrics[0].compare", rule: "errors needs total and bad, or compare.preset that fills them in"},
		{kind: kind, name: "latency without series", patch: fmt.Sprintf(comparePatch, `{latency: {}}`), field: "spec.metrics[0].compare", rule: "latency needs histogram, or compare.preset that fills it in"},
		{kind: kind, name: "matchers of nothing", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h}, matchers: 'a="b"'}`), field: "spec.metrics[0].compare", rule: "matchers needs preset: they are added to its selectors"},
		{kind: kind, name: "preset of NGINX", patch: fmt.Sprintf(comparePatch, `{preset: nginx-gateway-fabric, errors: {}}`), field: "spec.metrics[0].compare", rule: "preset nginx-gateway-fabric: NGINX Gateway Fabric counts the requests of all backends together, so that the two revisions cannot be told apart: take the application's own metrics, with preset http-server or otel-http"},
		{kind: kind, name: "latency of Envoy Gateway", patch: fmt.Sprintf(comparePatch, `{preset: envoy-gateway, latency: {}}`), field: "spec.metrics[0].compare", rule: "preset envoy-gateway: Envoy Gateway measures the durations of both revisions in one histogram: take latency from the application, with preset http-server or otel-http"},
		{kind: kind, name: "unit", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h, unit: Hours}}`), field: "spec.metrics[0].compare.latency.unit"},
		{kind: kind, name: "preset", patch: fmt.Sprintf(comparePatch, `{preset: apache, latency: {}}`), field: "spec.metrics[0].compare.preset"},
		{kind: kind, name: "restarts by labels", patch: fmt.Sprintf(comparePatch, `{restarts: {}, arms: {label: x}}`), field: "spec.metrics[0].compare", rule: "restarts are counted from the pods themselves: prometheus and arms do not go with them"},
		{kind: kind, name: "preset of a gauge", patch: fmt.Sprintf(comparePatch, `{gauge: {series: m}, preset: http-server}`), field: "spec.metrics[0].compare", rule: "preset fills in errors or latency: gauge and restarts go without it"},
		{kind: kind, name: "restarts borne", patch: fmt.Sprintf(comparePatch, `{restarts: {margin: {perHour: "0.001"}}}`), field: "spec.metrics[0].compare.restarts.margin.perHour", rule: "perHour must be at least 0.01"},
		{kind: kind, name: "reason of restarts", patch: fmt.Sprintf(comparePatch, `{restarts: {reason: Crash}}`), field: "spec.metrics[0].compare.restarts.reason"},
		{kind: kind, name: "gauge without series", patch: fmt.Sprintf(comparePatch, `{gauge: {}}`), field: "spec.metrics[0].compare.gauge.series"},
		{kind: kind, name: "gauge margin", patch: fmt.Sprintf(comparePatch, `{gauge: {series: m, margin: {absolute: "-1"}}}`), field: "spec.metrics[0].compare.gauge.margin.absolute"},
		{kind: kind, name: "gauge consequence", patch: fmt.Sprintf(comparePatch, `{gauge: {series: m, onWorse: Panic}}`), field: "spec.metrics[0].compare.gauge.onWorse"},
		{kind: kind, name: "headers to the default server", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, headers: [{name: a, value: b}]}}`), field: at + ".prometheus", rule: "headers needs address: nothing but the query is sent to the default server"},
		{kind: kind, name: "headers without a Secret", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, address: "http://p", headers: [{name: a, secretKey: b}]}}`), field: at + ".prometheus", rule: "a header with secretKey needs secretRef, the Secret that has the key"},
		{kind: kind, name: "headers of compare to the default server", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h}, prometheus: {headers: [{name: a, value: b}]}}`), field: "spec.metrics[0].compare.prometheus", rule: "headers needs address: nothing but the query is sent to the default server"},
		{kind: kind, name: "header without a value", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, address: "http://p", headers: [{name: a}]}}`), field: at + ".prometheus.headers[0]", rule: "exactly one of value and secretKey must be set"},
		{kind: kind, name: "header of HTTP's own", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, address: "http://p", headers: [{name: AUTHORIZATION, value: b}]}}`), field: at + ".prometheus.headers[0]", rule: "this header cannot be set: credentials belong into secretRef, and the rest is HTTP's own"},
		{kind: kind, name: "header of two lines", patch: fmt.Sprintf(metricsPatch, `{min: "3", prometheus: {query: up, address: "http://p", headers: [{name: a, value: "b\nc"}]}}`), field: at + ".prometheus.headers[0].value"},
		{kind: kind, name: "one arm", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h}, arms: {canary: x}}`), field: "spec.metrics[0].compare.arms", rule: "canary and stable go together"},
		{kind: kind, name: "secret to the default server", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h}, prometheus: {secretRef: {name: s}}}`), field: "spec.metrics[0].compare.prometheus", rule: "secretRef needs address: credentials are never sent to the default server"},
		{kind: kind, name: "margin below 1", patch: fmt.Sprintf(comparePatch, `{latency: {histogram: h, margin: {ratio: "0.9"}}}`), field: "spec.metrics[0].compare.latency.margin.ratio"},
		{kind: kind, name: "objective", patch: fmt.Sprintf(comparePatch, `{errors: {total: t, bad: b, objective: "1.5"}}`), field: "spec.metrics[0].compare.errors.objective"},
		{kind: kind, name: "no query", patch: fmt.Sprintf(metricsPatch, `{min: "1", prometheus: {}}`), field: at + ".prometheus.query"},
	}
}

func rows() []row {
	longName := strings.Repeat("a", 64)
	const steps = `{spec: {strategy: {canary: {steps: %s}}}}`
	const at = "spec.strategy.canary.steps"
	const values = `{spec: {onFailure: {revert: {path: null, values: [%s]}}}}`
	const preview = `{spec: {strategy: {canary: null, blueGreen: {previewReplicas: %v}}}}`
	out := []row{
		{kind: "Rollout", name: "long name", patch: `{metadata: {name: ` + longName[:53] + `}}`, field: "", rule: "metadata.name must have at most 52 characters: ReplicaSets are named <name>-<revision>"},
		{kind: "Rollout", name: "selector changed", update: true, patch: `{spec: {selector: {matchLabels: {app: b}}, template: {metadata: {labels: {app: b}}}}}`, field: "spec", rule: "selector cannot be changed: make a new Rollout instead"},
		{kind: "Rollout", name: "template and workloadRef", patch: `{spec: {selector: null, workloadRef: {name: d}, onFailure: null}}`, field: "spec", rule: "exactly one of template and workloadRef must be set"},
		{kind: "Rollout", name: "neither template nor workloadRef", patch: `{spec: {template: null}}`, field: "spec", rule: "exactly one of template and workloadRef must be set"},
		{kind: "Rollout", name: "selector with workloadRef", patch: `{spec: {template: null, workloadRef: {name: d}, onFailure: null}}`, field: "spec", rule: "selector goes with template; with workloadRef it is the Deployment's and must be left out"},
		{kind: "Rollout", name: "no selector with template", patch: `{spec: {selector: null}}`, field: "spec", rule: "selector goes with template; with workloadRef it is the Deployment's and must be left out"},
		{kind: "Rollout", name: "revert with workloadRef", patch: `{spec: {template: null, selector: null, workloadRef: {name: d}}}`, field: "spec", rule: "onFailure.revert goes with template: what Git says of a Deployment cannot be compared with what the API server has made of it"},
		{kind: "Rollout", name: "workloadRef set later", update: true, patch: `{spec: {template: null, selector: null, workloadRef: {name: d}, onFailure: null}}`, field: "spec", rule: "workloadRef cannot be added, changed or removed: `kubectl belay release` gives the pods back, then make a new Rollout"},
		{kind: "Rollout", name: "workloadRef of another kind", patch: `{spec: {template: null, selector: null, workloadRef: {kind: StatefulSet, name: d}, onFailure: null}}`, field: "spec.workloadRef.kind"},
		{kind: "Rollout", name: "routes changed in an attempt", update: true, patch: `{spec: {traffic: {routes: [{kind: HTTPRoute, name: b}]}}}`,
			status: `{status: {attempts: 2, attempt: {number: 2, revision: x, stage: Stepping, stageSince: "2026-03-01T12:00:00Z", startedAt: "2026-03-01T12:00:00Z"}}}`, field: "",
			rule: "spec.traffic: Services, routes and totalWeight cannot be changed while an attempt is under way: wait for its end, or abort it"},
		{kind: "Rollout", name: "namespace of a route changed in an attempt", update: true, patch: `{spec: {traffic: {routes: [{kind: HTTPRoute, name: a, namespace: b}]}}}`,
			status: `{status: {attempts: 2, attempt: {number: 2, revision: x, stage: Stepping, stageSince: "2026-03-01T12:00:00Z", startedAt: "2026-03-01T12:00:00Z"}}}`, field: "",
			rule: "spec.traffic: Services, routes and totalWeight cannot be changed while an attempt is under way: wait for its end, or abort it"},
		{kind: "Rollout", name: "rules of a route changed in an attempt", update: true, patch: `{spec: {traffic: {routes: [{kind: HTTPRoute, name: a, rules: [x]}]}}}`,
			status: `{status: {attempts: 2, attempt: {number: 2, revision: x, stage: Stepping, stageSince: "2026-03-01T12:00:00Z", startedAt: "2026-03-01T12:00:00Z"}}}`, field: "",
			rule: "spec.traffic: Services, routes and totalWeight cannot be changed while an attempt is under way: wait for its end, or abort it"},
		{kind: "Rollout", name: "labels", patch: `{spec: {template: {metadata: {labels: {app: b}}}}}`, field: "spec", rule: "template.metadata.labels must carry every label of selector.matchLabels"},
		{kind: "Rollout", name: "weight above total", patch: fmt.Sprintf(steps, `[{weight: 101}]`), field: "spec", rule: "strategy.canary.steps: weight must not exceed traffic.totalWeight (default 100)"},
		{kind: "Rollout", name: "two strategies", patch: `{spec: {strategy: {blueGreen: {}}}}`, field: "spec.strategy", rule: "exactly one of canary and blueGreen must be set"},
		{kind: "Rollout", name: "no strategy", patch: `{spec: {strategy: {canary: null}}}`, field: "spec.strategy", rule: "exactly one of canary and blueGreen must be set"},
		{kind: "Rollout", name: "preview replicas 0", patch: fmt.Sprintf(preview, 0), field: "spec.strategy.blueGreen.previewReplicas", rule: "previewReplicas must be a count of at least 1, or a percentage from 1% to 100%"},
		{kind: "Rollout", name: "preview replicas above all", patch: fmt.Sprintf(preview, `"101%"`), field: "spec.strategy.blueGreen.previewReplicas"},
		{kind: "Rollout", name: "preview approval", patch: `{spec: {strategy: {canary: null, blueGreen: {approval: Maybe}}}}`, field: "spec.strategy.blueGreen.approval"},
		{kind: "Rollout", name: "same service", patch: `{spec: {traffic: {canaryService: a}}}`, field: "spec.traffic", rule: "canaryService must differ from stableService"},
		{kind: "Rollout", name: "step names", patch: fmt.Sprintf(steps, `[{name: x, weight: 1}, {name: x, weight: 2}]`), field: "spec.strategy.canary", rule: "steps: every name may occur once"},
		{kind: "Rollout", name: "rollback window", patch: `{spec: {rollbackWindow: {revisions: 10}}}`, field: "spec.rollbackWindow.revisions"},
		{kind: "Rollout", name: "maxHold below hold", patch: fmt.Sprintf(steps, `[{weight: 1, hold: 2m, maxHold: 90s}]`), field: at + "[0]", rule: "maxHold must not be shorter than hold"},
		{kind: "Rollout", name: "onInconclusive without maxHold", patch: fmt.Sprintf(steps, `[{weight: 1, onInconclusive: Rollback}]`), field: at + "[0]", rule: "onInconclusive needs maxHold: without it the step waits without end"},
		{kind: "Rollout", name: "preview maxHold below hold", patch: `{spec: {strategy: {canary: null, blueGreen: {hold: 2m, maxHold: 90s}}}}`, field: "spec.strategy.blueGreen", rule: "maxHold must not be shorter than hold"},
		{kind: "Rollout", name: "preview onInconclusive without maxHold", patch: `{spec: {strategy: {canary: null, blueGreen: {onInconclusive: Proceed}}}}`, field: "spec.strategy.blueGreen", rule: "onInconclusive needs maxHold: without it the preview waits without end"},
		{kind: "Rollout", name: "onInconclusive", patch: fmt.Sprintf(steps, `[{weight: 1, onInconclusive: Guess}]`), field: at + "[0].onInconclusive"},
		{kind: "Rollout", name: "replicas 0", patch: fmt.Sprintf(steps, `[{weight: 1, replicas: 0}]`), field: at + "[0].replicas", rule: "replicas must be a count of at least 1, or a percentage from 1% to 100%"},
		{kind: "Rollout", name: "revert path", patch: `{spec: {onFailure: {revert: {path: ../x}}}}`, field: "spec.onFailure.revert.path", rule: "path must be relative to the repository's root and must not contain '..'"},
		{kind: "Rollout", name: "revert of nothing", patch: `{spec: {onFailure: {revert: {path: null, values: null}}}}`, field: "spec.onFailure.revert", rule: "path, values or both must be set: what in the repository says what runs"},
		{kind: "Rollout", name: "value of nothing", patch: fmt.Sprintf(values, `{file: f, path: p}`), field: "spec.onFailure.revert.values[0]", rule: "exactly one of container and field must be set"},
		{kind: "Rollout", name: "value of two", patch: fmt.Sprintf(values, `{file: f, path: p, container: c, field: metadata.x}`), field: "spec.onFailure.revert.values[0]", rule: "exactly one of container and field must be set"},
		{kind: "Rollout", name: "part of a field", patch: fmt.Sprintf(values, `{file: f, path: p, field: metadata.x, part: Tag}`), field: "spec.onFailure.revert.values[0]", rule: "part goes with container: it is a part of its image"},
		{kind: "Rollout", name: "value outside", patch: fmt.Sprintf(values, `{file: a/../../f, path: p, container: c}`), field: "spec.onFailure.revert.values[0].file", rule: "file must be relative to the repository's root and must not contain '..'"},
		{kind: "Rollout", name: "part of an image", patch: fmt.Sprintf(values, `{file: f, path: p, container: c, part: Registry}`), field: "spec.onFailure.revert.values[0].part"},
		{kind: "Rollout", name: "path of a value", patch: fmt.Sprintf(values, `{file: f, path: "a..b", container: c}`), field: "spec.onFailure.revert.values[0].path"},
		{kind: "Rollout", name: "quote that does not close", patch: fmt.Sprintf(values, `{file: f, path: 'a[n="x]', container: c}`), field: "spec.onFailure.revert.values[0].path"},
		{kind: "Rollout", name: "escape in quotes", patch: fmt.Sprintf(values, `{file: f, path: 'a["x\b"]', container: c}`), field: "spec.onFailure.revert.values[0].path"},
		{kind: "Rollout", name: "field of a template", patch: fmt.Sprintf(values, `{file: f, path: p, field: "status.x"}`), field: "spec.onFailure.revert.values[0].field"},
		{kind: "Rollout", name: "no values", patch: `{spec: {onFailure: {revert: {values: []}}}}`, field: "spec.onFailure.revert.values"},
		{kind: "Rollout", name: "revert strategy", patch: `{spec: {onFailure: {revert: {strategy: Force}}}}`, field: "spec.onFailure.revert.strategy"},
		{kind: "Rollout", name: "no steps", patch: fmt.Sprintf(steps, `[]`), field: at},
		{kind: "Rollout", name: "no exposure", patch: fmt.Sprintf(steps, `[{name: x}]`), field: at + "[0]", rule: "a step needs weight, match, mirror or replicas"},
		{kind: "Rollout", name: "role label of a selector", patch: `{spec: {roleMetadata: {canary: {labels: {app: b}}}}}`, field: "spec", rule: "roleMetadata: labels of selector.matchLabels must not be among the labels of a role"},
		{kind: "Rollout", name: "role label of Belay's", patch: `{spec: {roleMetadata: {stable: {labels: {belay.dev/role: x}}}}}`, field: "spec.roleMetadata.stable.labels", rule: "belay.dev/* and pod-template-hash are labels that controllers select pods by"},
		{kind: "Rollout", name: "role annotation of Belay's", patch: `{spec: {roleMetadata: {stable: {annotations: {belay.dev/x: x}}}}}`, field: "spec.roleMetadata.stable.annotations", rule: "annotations of belay.dev/* are Belay's own"},
		{kind: "Rollout", name: "false aborts", patch: `{spec: {evidence: {falseAbortRate: "0.5"}}}`, field: "spec.evidence.falseAbortRate", rule: "falseAbortRate must be from 0.0001 to 0.2"},
		{kind: "Rollout", name: "false aborts in percent", patch: `{spec: {evidence: {falseAbortRate: "1%"}}}`, field: "spec.evidence.falseAbortRate"},
		{kind: "Rollout", name: "harm budget", patch: `{spec: {evidence: {harmBudget: "0.0001"}}}`, field: "spec.evidence.harmBudget", rule: "harmBudget must be from 0.0005 to 0.2"},
		{kind: "AnalysisRun", name: "false aborts", patch: `{spec: {evidence: {falseAbortRate: "0.00001"}}}`, field: "spec.evidence.falseAbortRate", rule: "falseAbortRate must be from 0.0001 to 0.2"},
		{kind: "AnalysisRun", name: "harm budget", patch: `{spec: {evidence: {harmBudget: "0.3"}}}`, field: "spec.evidence.harmBudget", rule: "harmBudget must be from 0.0005 to 0.2"},
		{kind: "AnalysisRun", name: "evidence changed", update: true, patch: `{spec: {evidence: {falseAbortRate: "0.02"}}}`, field: "spec", rule: "evidence cannot be changed: make a new AnalysisRun instead"},
		{kind: "Rollout", name: "six approvals", patch: `{spec: {approvals: {required: 6}}}`, field: "spec.approvals.required"},
		{kind: "Rollout", name: "spread", patch: `{spec: {spread: Always}}`, field: "spec.spread"},
		{kind: "Rollout", name: "share of nothing", patch: `{spec: {traffic: {confirm: [{controllerName: x/y, level: Share}]}}}`, field: "spec.traffic.confirm[0]", rule: "level Share needs share, and no other level takes it"},
		{kind: "Rollout", name: "two shares", patch: `{spec: {traffic: {confirm: [{controllerName: x/y, level: Share, share: {templates: [{name: t}]}}, {controllerName: x/z, level: Share, share: {templates: [{name: t}]}}]}}}`, field: "spec.traffic.confirm", rule: "confirm: one controller may have level Share"},
		{kind: "Rollout", name: "dynamic and replicas", patch: `{spec: {strategy: {canary: {stableScale: Dynamic, steps: [{weight: 5, replicas: 2}]}}}}`, field: at[:len(at)-len(".steps")], rule: "stableScale Dynamic goes without replicas in steps: the pods of both revisions together carry the traffic"},
		{kind: "Rollout", name: "mirror and weight", patch: fmt.Sprintf(steps, `[{weight: 5, mirror: {percent: 10}}]`), field: at + "[0]", rule: "mirror goes without match and weight: a request that the canary serves must not reach it twice"},
		{kind: "Rollout", name: "mirror of nothing", patch: fmt.Sprintf(steps, `[{mirror: {percent: 0}}]`), field: at + "[0].mirror.percent"},
		{kind: "Rollout", name: "empty match", patch: fmt.Sprintf(steps, `[{match: {}}]`), field: at + "[0].match", rule: "match needs headers, queryParams or methods"},
		{kind: "Rollout", name: "header twice", patch: fmt.Sprintf(steps, `[{match: {headers: [{name: X-Canary, value: a}, {name: x-canary, value: b}]}}]`), field: at + "[0].match", rule: "headers: every name may occur once, whatever its case"},
		{kind: "Rollout", name: "preview match", patch: `{spec: {strategy: {canary: null, blueGreen: {previewMatch: {}}}}}`, field: "spec.strategy.blueGreen.previewMatch", rule: "match needs headers, queryParams or methods"},
		{kind: "Rollout", name: "method", patch: fmt.Sprintf(steps, `[{match: {methods: [FETCH]}}]`), field: at + "[0].match.methods[0]"},
		{kind: "Rollout", name: "header name", patch: fmt.Sprintf(steps, `[{match: {headers: [{name: "a b", value: x}]}}]`), field: at + "[0].match.headers[0].name"},
		{kind: "Rollout", name: "match type", patch: fmt.Sprintf(steps, `[{match: {queryParams: [{name: a, value: x, type: Prefix}]}}]`), field: at + "[0].match.queryParams[0].type"},
		{kind: "Rollout", name: "replicas text", patch: `{spec: {replicas: "3"}}`, field: "spec.replicas"},
		{kind: "Rollout", name: "bad duration", patch: fmt.Sprintf(steps, `[{weight: 1, hold: 1 minute}]`), field: at + "[0].hold"},
		{kind: "Rollout", name: "enum", patch: `{spec: {onFailure: {action: Explode}}}`, field: "spec.onFailure.action"},
		{kind: "Rollout", name: "route kind", patch: `{spec: {traffic: {routes: [{kind: UDPRoute, name: a}]}}}`, field: "spec.traffic.routes[0].kind"},
		{kind: "Rollout", name: "route twice", patch: `{spec: {traffic: {routes: [{kind: HTTPRoute, name: a}, {kind: HTTPRoute, name: a}]}}}`, field: "spec.traffic.routes[1]"},
		{kind: "Rollout", name: "rules of a TLSRoute", patch: `{spec: {traffic: {routes: [{kind: TLSRoute, name: a, rules: [x]}]}}}`, field: "spec.traffic.routes[0]", rule: "rules can be named on HTTPRoute and GRPCRoute only: a TLSRoute or TCPRoute has one rule"},
		{kind: "Rollout", name: "confirm level", patch: `{spec: {traffic: {confirm: [{controllerName: x, level: Hope}]}}}`, field: "spec.traffic.confirm[0].level"},
		{kind: "Rollout", name: "confirm twice", patch: `{spec: {traffic: {confirm: [{controllerName: x}, {controllerName: x, settle: 1s}]}}}`, field: "spec.traffic.confirm[1]"},
		{kind: "Rollout", name: "route namespace", patch: `{spec: {traffic: {routes: [{kind: HTTPRoute, name: a, namespace: Up}]}}}`, field: "spec.traffic.routes[0].namespace"},
		{kind: "Rollout", name: "no traffic", patch: `{spec: {traffic: null}}`, field: "spec.traffic"},
		{kind: "Rollout", name: "bad name", patch: `{metadata: {name: Not_A_Name}}`, field: "metadata.name"},
		{kind: "Rollout", name: "unknown field", patch: `{spec: {replicaz: 3}}`, field: "spec.replicaz"},
		{kind: "Rollout", name: "unknown field in a pod", patch: `{spec: {template: {spec: {containers: [{name: c, image: i, imag: j}]}}}}`, field: "spec.template.spec.containers[0].imag"},
		{kind: "Decision", name: "changed", update: true, patch: `{spec: {reason: other}}`, field: "spec", rule: "a Decision cannot be changed: make a new one"},
		{kind: "Decision", name: "retry without revision", patch: `{spec: {action: Retry}}`, field: "spec", rule: "actions Retry and Undo need revision; every other action needs attempt"},
		{kind: "Decision", name: "no step", patch: `{spec: {step: null}}`, field: "spec", rule: "actions Approve and Promote need step, counted from 0"},
		{kind: "Decision", name: "action", patch: `{spec: {action: Redo}}`, field: "spec.action"},
		{kind: "Decision", name: "undo of nothing", patch: `{spec: {action: Undo}}`, field: "spec", rule: "actions Retry and Undo need revision; every other action needs attempt"},
		{kind: "Decision", name: "attempt 0", patch: `{spec: {attempt: 0}}`, field: "spec.attempt"},
		{kind: "AnalysisRun", name: "changed", update: true, patch: fmt.Sprintf(metricsPatch, `{min: "1", prometheus: {query: down}}`), field: "spec", rule: "metrics cannot be changed: make a new AnalysisRun instead"},
		{kind: "Repository", name: "scheme", patch: `{spec: {url: "ftp://x/y"}}`, field: "spec.url", rule: "url must begin with https://, http://, ssh:// or file://"},
		{kind: "Repository", name: "credentials", patch: `{spec: {url: "https://me:secret@x/y"}}`, field: "spec.url", rule: "url must not hold credentials: put them into the Secret of secretRef"},
		{kind: "Repository", name: "interval", patch: `{spec: {interval: 10ms}}`, field: "spec.interval", rule: "interval must be at least 1s"},
		{kind: "Repository", name: "timeout", patch: `{spec: {timeout: 10m1s}}`, field: "spec.timeout", rule: "timeout must be at most 10m"},
		{kind: "Repository", name: "branch", patch: `{spec: {ref: {branch: "-x"}}}`, field: "spec.ref.branch"},
		{kind: "Repository", name: "pull requests where", patch: `{spec: {write: {forge: null}}}`, field: "spec", rule: "write.strategy PullRequest needs write.forge.type: the host of url does not say which forge it is"},
		{kind: "Repository", name: "pull requests by whom", patch: `{spec: {url: "ssh://git@git/x.git"}}`, field: "spec", rule: "write.strategy PullRequest needs a token: write.forge.secretRef, or write.secretRef where url is http or https"},
		{kind: "Repository", name: "API of what", patch: `{spec: {write: {strategy: Push, forge: {type: null}}}}`, field: "spec.write.forge", rule: "apiURL goes with type: say which API is spoken there"},
		{kind: "Repository", name: "credentials of the API", patch: `{spec: {write: {forge: {apiURL: "https://me:pw@x/api"}}}}`, field: "spec.write.forge.apiURL", rule: "apiURL must begin with https:// or http:// and hold no credentials"},
		{kind: "Repository", name: "sign-off", patch: `{spec: {write: {signOff: Always}}}`, field: "spec.write.signOff"},
		{kind: "Repository", name: "no reverts", patch: `{spec: {write: {maxRevertsPerHour: 0}}}`, field: "spec.write.maxRevertsPerHour"},
		{kind: "Repository", name: "signing key without name", patch: `{spec: {write: {signingKeyRef: {name: ""}}}}`, field: "spec.write.signingKeyRef.name"},
		{kind: "Repository", name: "strategy", patch: `{spec: {write: {strategy: Force}}}`, field: "spec.write.strategy"},
		{kind: "Repository", name: "two refs", patch: `{spec: {ref: {tag: v1}}}`, field: "spec.ref", rule: "ref must have exactly one of branch, tag, semver and commit"},
		{kind: "Repository", name: "no ref", patch: `{spec: {write: null, ref: {branch: null}}}`, field: "spec.ref", rule: "ref must have exactly one of branch, tag, semver and commit"},
		{kind: "Repository", name: "short commit", patch: `{spec: {write: null, ref: {branch: null, commit: abc123}}}`, field: "spec.ref.commit"},
		{kind: "Repository", name: "tag that is written to", patch: `{spec: {ref: {branch: null, tag: v1}}}`, field: "spec", rule: "write needs ref.branch: only a branch can be written to"},
		{kind: "Repository", name: "no signers", patch: `{spec: {verify: {mode: Head, trustedSigners: null}}}`, field: "spec.verify", rule: "verify needs trustedSigners unless mode is Off"},
		{kind: "Repository", name: "mode", patch: `{spec: {verify: {mode: Tip}}}`, field: "spec.verify.mode"},
		{kind: "Repository", name: "webhook without a Secret", patch: `{spec: {webhook: {secretRef: null}}}`, field: "spec.webhook.secretRef"},
		{kind: "Sync", name: "long name", patch: `{metadata: {name: ` + longName + `}}`, field: "", rule: "metadata.name must have at most 63 characters: it is the value of a label"},
		{kind: "Sync", name: "path", patch: `{spec: {path: /apps}}`, field: "spec.path", rule: "path must be relative to the repository's root and must not contain '..'"},
		{kind: "Sync", name: "interval", patch: `{spec: {interval: 1s}}`, field: "spec.interval", rule: "interval must be at least 5s"},
		{kind: "Sync", name: "no account", patch: `{spec: {serviceAccountName: null}}`, field: "spec.serviceAccountName"},
	}
	return slices.Concat(out, syncRows(), outsideRows(), driftRows(), metricRows("AnalysisTemplate"), metricRows("ClusterAnalysisTemplate"), metricRows("AnalysisRun"))
}

// place is the name of a valid object, and its namespace where its kind has one.
func place(kind, namespace string) string {
	if strings.HasPrefix(kind, "Cluster") {
		return "ok-" + namespace
	}
	return "ok, namespace: " + namespace
}

func object(t *testing.T, kind, namespace string) map[string]any {
	t.Helper()
	text := fmt.Sprintf("apiVersion: belay.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\n%s", kind, place(kind, namespace), valid[kind])
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u.Object
}

func patched(t *testing.T, base map[string]any, patch string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	p := (&unstructured.Unstructured{Object: base}).DeepCopy()
	var change map[string]any
	if err := json.Unmarshal(raw, &change); err != nil {
		t.Fatal(err)
	}
	merge(p.Object, change)
	raw, err = p.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return out.Object
}

func merge(into, change map[string]any) {
	for key, value := range change {
		nested, isMap := value.(map[string]any)
		before, had := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && had:
			merge(before, nested)
		default:
			into[key] = value
		}
	}
}

// loaded once: compiling the rules takes a second.
var loaded = sync.OnceValues(func() (*Schemas, error) { return LoadSchemas(crd.Files) })

func schemas(t *testing.T) *Schemas {
	t.Helper()
	s, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fields are the paths at which lint refuses obj.
func fields(t *testing.T, s *Schemas, obj, old map[string]any) []string {
	t.Helper()
	res, err := s.Validate(t.Context(), obj, old)
	if err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(res.Unknown)
	for _, e := range res.Errors {
		out = append(out, trimPath(e))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestLintAndAPIServerRefuseTheSame(t *testing.T) {
	env := testenv.New(t)
	c := client.WithFieldValidation(env.Client, metav1.FieldValidationStrict)
	s := schemas(t)
	for _, kind := range slices.Sorted(maps.Keys(valid)) {
		good := object(t, kind, env.Namespace)
		if got := fields(t, s, good, nil); len(got) > 0 {
			t.Errorf("%s: lint refuses a valid one at %v", kind, got)
		}
		if err := c.Create(t.Context(), &unstructured.Unstructured{Object: object(t, kind, env.Namespace)}); err != nil {
			t.Fatalf("%s: the API server refuses a valid one: %v", kind, err)
		}
	}
	for _, r := range rows() {
		t.Run(r.kind+"/"+r.name, func(t *testing.T) {
			base := object(t, r.kind, env.Namespace)
			bad := patched(t, base, r.patch)
			var old map[string]any
			switch {
			case r.update:
				old = withStatus(t, c, base, r.status)
			case !strings.HasPrefix(r.patch, "{metadata"):
				bad = patched(t, bad, `{metadata: {name: bad}}`) // "ok" exists
			}
			got := fields(t, s, bad, old)
			if !slices.Contains(got, r.field) {
				t.Errorf("lint: refused at %q, want %q", got, r.field)
			}
			err := serverRefusal(t, c, bad, r.update)
			want := serverFields(t, err)
			if !slices.Equal(want, got) {
				t.Errorf("API server refuses at %q, lint at %q: %v", want, got, err)
			}
			if r.rule != "" && !strings.Contains(err.Error(), r.rule) {
				t.Errorf("API server says %v, want rule %q", err, r.rule)
			}
		})
	}
}

// withStatus gives the existing object a status, for the length of a test, and returns it as it then is.
func withStatus(t *testing.T, c client.Client, base map[string]any, status string) map[string]any {
	t.Helper()
	if status == "" {
		return base
	}
	set := func(text string) {
		live := &unstructured.Unstructured{Object: patched(t, base, "{}")}
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Status().Patch(context.Background(), live, client.RawPatch(types.MergePatchType, data)); err != nil {
			t.Fatal(err)
		}
	}
	set(status)
	t.Cleanup(func() { set("{status: null}") })
	return patched(t, base, status)
}

func serverRefusal(t *testing.T, c client.Client, bad map[string]any, update bool) error {
	t.Helper()
	u := (&unstructured.Unstructured{Object: bad}).DeepCopy()
	var err error
	if update {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(u.GroupVersionKind())
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), live); err != nil {
			t.Fatal(err)
		}
		u.SetResourceVersion(live.GetResourceVersion())
		err = c.Update(t.Context(), u)
	} else {
		err = c.Create(t.Context(), u, client.DryRunAll)
	}
	if err == nil {
		t.Fatal("the API server accepts it")
	}
	return err
}

// serverFields are the paths at which the API server refused.
func serverFields(t *testing.T, err error) []string {
	t.Helper()
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		t.Fatalf("not a status: %v", err)
	}
	var out []string
	if _, unknown, ok := strings.Cut(err.Error(), `unknown field "`); ok {
		field, _, _ := strings.Cut(unknown, `"`)
		return []string{field}
	}
	if status.ErrStatus.Details != nil {
		for _, cause := range status.ErrStatus.Details.Causes {
			if !strings.Contains(cause.Message, "some validation rules were not checked") {
				out = append(out, strings.TrimPrefix(strings.TrimPrefix(cause.Field, "<nil>"), "."))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestEveryRuleHasARow reads the rules out of the CRDs: a rule without a row that it refuses fails the test. Each is
// accepted by the valid object of its kind, which has every field that a rule speaks of.
func TestEveryRuleHasARow(t *testing.T) {
	covered := map[string]bool{}
	s := schemas(t)
	for _, r := range rows() {
		if r.rule == "" {
			continue
		}
		base := object(t, r.kind, "n")
		bad, old := patched(t, base, r.patch), map[string]any(nil)
		if r.update {
			old = patched(t, base, cmp.Or(r.status, "{}"))
		}
		res, err := s.Validate(t.Context(), bad, old)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Errors {
			if strings.Contains(e.Error(), r.rule) {
				covered[r.kind+": "+r.rule] = true
			}
		}
	}
	total := 0
	for gvk, k := range s.kinds {
		for _, message := range ruleMessages(k.props) {
			total++
			if !covered[gvk.Kind+": "+message] {
				t.Errorf("%s: no row is refused by rule %q", gvk.Kind, message)
			}
		}
	}
	if total < 25 {
		t.Errorf("found %d rules in the CRDs: they are not read", total)
	}
}

func ruleMessages(p *apiextensionsv1.JSONSchemaProps) []string {
	var out []string
	for _, v := range p.XValidations {
		out = append(out, v.Message)
	}
	for _, nested := range p.Properties {
		out = append(out, ruleMessages(&nested)...)
	}
	if p.Items != nil && p.Items.Schema != nil {
		out = append(out, ruleMessages(p.Items.Schema)...)
	}
	if p.AdditionalProperties != nil && p.AdditionalProperties.Schema != nil {
		out = append(out, ruleMessages(p.AdditionalProperties.Schema)...)
	}
	return out
}
