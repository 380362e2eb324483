package lint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/prometheus"
	crd "github.com/belay-delivery/belay/config/crd"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fakeServer has series, by the matchers of production, and values of queries.
type fakeServer struct {
	series  []prometheus.Samples
	queries map[string]error // nil: a number
	down    error
}

func (f *fakeServer) Query(_ context.Context, query string, _ time.Time) (float64, error) {
	if f.down != nil {
		return 0, f.down
	}
	if err, known := f.queries[query]; known {
		return 1, err
	}
	if query == "vector(1)" {
		return 1, nil
	}
	return 0, prometheus.ErrNoData
}

func (f *fakeServer) Samples(_ context.Context, selector string, _ time.Time, _ time.Duration) ([]prometheus.Samples, error) {
	unnamed := strings.HasPrefix(selector, "{")
	if unnamed {
		selector = "x" + selector
	}
	q, err := analysis.ParseSelector(selector)
	if err != nil {
		return nil, err
	}
	if !unnamed {
		q.Matchers = append(q.Matchers, analysis.Matcher{Label: "__name__", Op: "=", Value: q.Name})
	}
	match, err := analysis.Filter(q.Matchers)
	if err != nil {
		return nil, err
	}
	var out []prometheus.Samples
	for _, s := range f.series {
		if match(s.Labels) {
			out = append(out, s)
		}
	}
	return out, nil
}

// with adds a series: labels as a,b,c,d for {a="b",c="d"}.
func (f *fakeServer) with(name, labels string, values ...float64) *fakeServer {
	s := prometheus.Samples{Labels: map[string]string{"__name__": name}}
	parts := strings.Split(labels, ",")
	for i := 0; i+1 < len(parts); i += 2 {
		s.Labels[parts[i]] = parts[i+1]
	}
	for i, v := range values {
		s.Points = append(s.Points, compare.Point{At: noon.Add(time.Duration(i) * 15 * time.Second), Value: v})
	}
	f.series = append(f.series, s)
	return f
}

// good is a server that scrapes two pods of Rollout shop, and a Traefik.
func good() *fakeServer {
	f := &fakeServer{queries: map[string]error{`sum(up{app="shop"})`: nil}}
	for _, pod := range []string{"shop-6d4c-aaaaa", "shop-6d4c-bbbbb"} {
		at := ",pod," + pod + ",instance," + pod + ":8080"
		f.with("http_requests_total", "code,200"+at, 1, 5, 9).with("http_requests_total", "code,500"+at, 0, 0, 1)
		for i, le := range []string{"0.1", "0.2", "0.5", "1", "+Inf"} {
			f.with("http_request_duration_seconds_bucket", "le,"+le+at, float64(i), float64(2*i))
		}
		f.with("http_request_duration_seconds_sum", strings.TrimPrefix(at, ","), 1, 2)
	}
	return f.with("traefik_service_requests_total", "code,200,service,httproute-shop-web-gw-a-gw-ep-web-0-1c-svc-shop-shop-1@kubernetesgateway", 1, 9).
		with("traefik_service_requests_total", "code,502,service,httproute-shop-web-gw-a-gw-ep-web-0-1c-svc-shop-shop-1@kubernetesgateway", 0, 1)
}

const liveFiles = `
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: golden, namespace: shop}
spec:
  args: [{name: app}]
  metrics:
  - {name: m, %s}
---
apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: shop, namespace: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: i}]}}
  traffic: {stableService: shop, canaryService: shop-canary, routes: [{kind: HTTPRoute, name: shop}]}
  strategy: {canary: {steps: [{weight: 10}]}}
  analysis: {templates: [{name: golden}], args: [{name: app, value: shop}]}
`

func TestLive(t *testing.T) {
	none := &fakeServer{}
	s, err := LoadSchemas(crd.Files)
	if err != nil {
		t.Fatal(err)
	}
	pods := func(f func(*fakeServer)) *fakeServer { s := &fakeServer{}; f(s); return s }
	for name, tc := range map[string]struct {
		server *fakeServer
		metric string
		want   []string // parts of the lines that speak of the metric, in order
	}{
		"errors":          {good(), `compare: {preset: http-server, errors: {}}`, nil},
		"latency":         {good(), `compare: {preset: http-server, latency: {}}`, nil},
		"threshold":       {good(), `threshold: {min: "1", prometheus: {query: 'sum(up{app="{{args.app}}"})'}}`, nil},
		"gateway":         {good(), `compare: {preset: traefik, errors: {}}`, nil},
		"nothing":         {none, `compare: {preset: http-server, errors: {}}`, []string{"compare.errors.total: for Rollout shop: no series matches http_requests_total in the last 5m0s; is it scraped"}},
		"no latency":      {good(), `compare: {preset: otel-http, latency: {}}`, []string{"no series matches http_server_request_duration_seconds"}},
		"another gateway": {good(), `compare: {preset: istio, errors: {}}`, []string{`no series matches istio_requests_total{reporter="source",destination_service_namespace="shop"}`}},
		"no label": {pods(func(f *fakeServer) { f.with("http_requests_total", "code,200,instance,a", 1, 2) }), `compare: {preset: http-server, errors: {}}`,
			[]string{`compare.arms: for Rollout shop: 1 series match http_requests_total, and none has the label pod: the two revisions cannot be told apart; have the scrape configuration add it, or name another one in compare.arms.label: there are "code", "instance"`}},
		"pods of others": {pods(func(f *fakeServer) { f.with("http_requests_total", "code,200,pod,cart-1-a", 1, 2) }), `compare: {preset: http-server, errors: {}}`,
			[]string{`in none is the label pod a pod of Rollout shop: it is "cart-1-a"`}},
		"one value for all": {pods(func(f *fakeServer) {
			f.with("http_requests_total", "code,200,pod,shop-agent-1,instance,a", 1, 2).with("http_requests_total", "code,500,pod,shop-agent-1,instance,b", 1, 2)
		}), `compare: {preset: http-server, errors: {}}`, []string{`come from 2 instances and all have pod="shop-agent-1": the two revisions cannot be told apart`}},
		"services of others": {good(), `compare: {preset: traefik, errors: {}, arms: {label: code}}`, []string{`in none is the label code the Service shop or shop-canary: it is "200", "502"`}},
		"both arms":          {good(), `compare: {preset: traefik, errors: {}, arms: {label: service, canary: '.+', stable: '.+-shop-1@.+'}}`, []string{"is matched by both canary and stable"}},
		"canary alone":       {good(), `compare: {preset: traefik, errors: {}, arms: {label: service, canary: '.+-shop-1@.+', stable: 'other'}}`, []string{"warning: for Rollout shop: there are series of the canary alone"}},
		"gauge":              {pods(func(f *fakeServer) { f.with("queue", "pod,shop-1-a,code,500", 5, 3, 4, 2, 6) }), `compare: {errors: {total: queue, bad: 'queue{code="500",pod=~"shop-.+"}'}}`, []string{"compare.errors.bad: for Rollout shop: every request counts as bad", "queue goes up and down, as a gauge does"}},
		"a restart is none": {pods(func(f *fakeServer) {
			f.with("n_total", "pod,shop-1-a,code,500", 5, 0, 4).with("n_total", "pod,shop-1-a,code,200", 5, 0, 4)
		}), `compare: {errors: {total: n_total, bad: 'n_total{code="500"}'}}`, nil},
		"no errors yet":   {pods(func(f *fakeServer) { f.with("n_total", "pod,shop-1-a,code,200", 5, 6) }), `compare: {errors: {total: n_total, bad: 'n_total{code="500"}'}}`, []string{`warning: for Rollout shop: no series matches n_total{code="500"} so far, which is right if there were no errors: there is code "200"`}},
		"label of errors": {good(), `compare: {errors: {total: http_requests_total, bad: 'http_requests_total{status="500"}'}}`, []string{"no series of http_requests_total has the label status: errors would never be seen"}},
		"another counter": {good(), `compare: {errors: {total: http_requests_total, bad: errors_total}}`, []string{"warning: for Rollout shop: no series matches errors_total so far"}},
		"no traffic": {pods(func(f *fakeServer) {
			f.with("n_total", "pod,shop-1-a,code,200", 5, 5).with("n_total", "pod,shop-1-a,code,500", 1, 1)
		}), `compare: {errors: {total: n_total, bad: 'n_total{code="500"}'}}`, []string{"warning: for Rollout shop: n_total did not grow in the last 5m0s"}},
		"no histogram": {good(), `compare: {latency: {histogram: http_requests_total}}`, []string{"http_requests_total has no buckets: it is no histogram"}},
		"suffix":       {good(), `compare: {latency: {histogram: http_request_duration_seconds_sum}}`, []string{"has no buckets: it is no histogram"}},
		"no infinity":  {pods(func(f *fakeServer) { f.with("d_seconds_bucket", "pod,shop-1-a,le,1", 1, 2) }), `compare: {latency: {histogram: d_seconds}}`, []string{"has no bucket of +Inf"}},
		"few buckets": {pods(func(f *fakeServer) {
			f.with("d_seconds_bucket", "pod,shop-1-a,le,1", 1, 2).with("d_seconds_bucket", "pod,shop-1-a,le,+Inf", 1, 2)
		}), `compare: {latency: {histogram: d_seconds}}`, []string{"warning: for Rollout shop: d_seconds has 1 buckets"}},
		"milliseconds": {pods(func(f *fakeServer) {
			for _, le := range []string{"1", "10", "100", "1000", "+Inf"} {
				f.with("d_milliseconds_bucket", "pod,shop-1-a,le,"+le, 1, 2)
			}
		}), `compare: {latency: {histogram: d_milliseconds}}`, []string{"compare.latency.unit: for Rollout shop: d_milliseconds is in milliseconds by its name; set it to Milliseconds"}},
		"native": {pods(func(f *fakeServer) {
			for _, le := range []string{"1", "+Inf"} {
				f.with("d_seconds", "pod,shop-1-a,le,"+le, 1, 2)
			}
		}), `compare: {latency: {histogram: d_seconds}}`, nil},
		"addresses": {pods(func(f *fakeServer) {
			f.with("envoy_cluster_endpoint_rq_total", "envoy_cluster_name,httproute/shop/shop/rule/0,envoy_endpoint_address,10.0.0.1:8080", 1, 2)
			f.with("envoy_cluster_endpoint_rq_error", "envoy_cluster_name,httproute/shop/shop/rule/0,envoy_endpoint_address,10.0.0.1:8080", 1, 2)
		}), `compare: {preset: envoy-gateway, errors: {}}`, nil},
		"cannot be told apart":  {none, `compare: {preset: nginx-gateway-fabric, errors: {}}`, []string{"the two revisions cannot be told apart: take the application's own metrics"}},
		"a gauge that is there": {good().with("memory_bytes", "pod,shop-6d4c-aaaaa", 5, 3), `compare: {gauge: {series: memory_bytes}}`, nil},
		"a gauge that is not":   {good(), `compare: {gauge: {series: memory_bytes}}`, []string{"compare.gauge.series: for Rollout shop: no series matches memory_bytes"}},
		"restarts":              {none, `compare: {restarts: {}}`, nil},
		"refused query":         {&fakeServer{queries: map[string]error{"sum(": errors.New("parse error")}}, `threshold: {min: "1", prometheus: {query: "sum("}}`, []string{"threshold.prometheus.query: for Rollout shop: parse error"}},
		"no data":               {none, `threshold: {min: "1", prometheus: {query: up}}`, []string{"the query gives no data"}},
		"pods of an attempt":    {none, `threshold: {min: "1", prometheus: {query: 'up{pod=~"{{canary.pods}}"}'}}`, []string{"warning: for Rollout shop: the query speaks of pods or revisions"}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := RunLive(t.Context(), s, []Source{{Name: "f.yaml", Content: fmt.Appendf(nil, liveFiles, tc.metric)}}, tc.server, noon)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range report.Findings {
				if strings.Contains(f.Field, "metrics[0]") {
					got = append(got, f.String())
				}
			}
			ok := len(got) == len(tc.want)
			for i := range got {
				ok = ok && strings.Contains(got[i], tc.want[i])
			}
			if !ok {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestLiveWithoutARollout(t *testing.T) {
	s, err := LoadSchemas(crd.Files)
	if err != nil {
		t.Fatal(err)
	}
	template, _, _ := strings.Cut(fmt.Sprintf(liveFiles, `compare: {preset: http-server, matchers: 'app="{{args.app}}"', errors: {}}`), "---")
	for want, text := range map[string]string{
		"the server was not asked about it":              template,
		`no series matches http_requests_total{app="x"}`: strings.Replace(template, "{name: app}", "{name: app, value: x}", 1),
	} {
		report, err := RunLive(t.Context(), s, []Source{{Name: "f.yaml", Content: []byte(text)}}, good(), noon)
		if err != nil || len(report.Findings) != 1 || !strings.Contains(report.Findings[0].String(), want) {
			t.Errorf("%v, %v, want %q", report.Findings, err, want)
		}
	}
	if _, err := RunLive(t.Context(), s, nil, &fakeServer{down: errors.New("connection refused")}, noon); err == nil {
		t.Error("a server that is down is no error")
	}
}
