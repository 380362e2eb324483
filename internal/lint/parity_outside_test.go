package lint

import "fmt"

// validMetrics are of a valid object of each kind that has metrics.
const validMetrics = `
spec:
  metrics:
  - {name: m, threshold: {min: "1", max: "2", prometheus: {query: up, address: "http://p", secretRef: {name: s}}}}
  - {name: c, threshold: {condition: "value > 1.0", prometheus: {query: up}}}
  - {name: j, job: {deadline: 1m, startDeadline: 30s, template: {spec: {containers: [{name: c, image: i}]}}}}
  - {name: w, web: {url: "https://x/{{namespace}}?a=b", method: POST, body: "{}", headers: [{name: A, value: a}, {name: B, secretKeyRef: {name: s, key: k}}], value: json.a, condition: "value > 1.0", judgedStatuses: [404]}}
`

// outsideRows are about checks outside of Prometheus, in each kind that has metrics.
func outsideRows() []row {
	var out []row
	for _, kind := range []string{"AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"} {
		out = append(append(out, webRows(kind)...), jobRows(kind)...)
	}
	return out
}

// webRows are about web metrics, and conditions.
func webRows(kind string) []row {
	web := func(name, spec, field, rule string) row {
		return row{kind: kind, name: "web " + name, patch: fmt.Sprintf(webPatch, spec), field: "spec.metrics[0].web" + field, rule: rule}
	}
	return []row{
		{kind: kind, name: "condition and bounds", patch: fmt.Sprintf(metricsPatch, `{min: "3", condition: "value > 1.0", prometheus: {query: up}}`), field: "spec.metrics[0].threshold", rule: "threshold.condition goes without min and max: it may use value"},
		{kind: kind, name: "web and threshold", patch: `{spec: {metrics: [{name: m, web: {url: "http://x"}, threshold: {min: "1", prometheus: {query: up}}}]}}`, field: "spec.metrics[0]", rule: "exactly one of compare, threshold, web and job must be set"},
		web("value without a judge", `{url: "http://x", value: json.a}`, "", "web.value needs min, max or condition"),
		web("bounds without a value", `{url: "http://x", min: "1"}`, "", "web.min and web.max need value"),
		web("condition and bounds", `{url: "http://x", value: json.a, min: "1", condition: "value > 1.0"}`, "", "web.condition goes without min and max: it may use value"),
		web("min above max", `{url: "http://x", value: json.a, min: "2", max: "1"}`, "", "web.min must not exceed web.max"),
		web("body of a GET", `{url: "http://x", body: "{}"}`, "", "web.body needs method POST or PUT"),
		web("timeout", `{url: "http://x", timeout: 61s}`, ".timeout", "timeout must be above 0s and at most 60s"),
		web("interval", `{url: "http://x", interval: 10ms}`, ".interval", "interval must be at least 1s"),
		web("header without a value", `{url: "http://x", headers: [{name: A}]}`, ".headers[0]", "exactly one of value and secretKeyRef must be set"),
		web("header with two values", `{url: "http://x", headers: [{name: A, value: a, secretKeyRef: {name: s, key: k}}]}`, ".headers[0]", "exactly one of value and secretKeyRef must be set"),
		web("header of the transport", `{url: "http://x", headers: [{name: Host, value: a}]}`, ".headers[0]", "this header is set by the transport and cannot be given"),
		web("URL with a password", `{url: "http://me:secret@x"}`, ".url", ""),
		web("scheme", `{url: "ftp://x"}`, ".url", ""),
		web("status", `{url: "http://x", judgedStatuses: [200]}`, ".judgedStatuses[0]", ""),
		web("method", `{url: "http://x", method: DELETE}`, ".method", ""),
	}
}

// jobRows are about job metrics.
func jobRows(kind string) []row {
	job := func(name, spec, field, rule string) row {
		return row{kind: kind, name: "job " + name, patch: `{spec: {metrics: [{name: m, job: ` + spec + `}]}}`, field: "spec.metrics[0].job" + field, rule: rule}
	}
	return []row{
		{kind: kind, name: "job and web", patch: `{spec: {metrics: [{name: m, web: {url: "http://x"}, job: {template: {}}}]}}`, field: "spec.metrics[0]", rule: "exactly one of compare, threshold, web and job must be set"},
		{kind: kind, name: "job without data", patch: `{spec: {metrics: [{name: m, onNoData: Pass, job: {template: {}}}]}}`, field: "spec.metrics[0]", rule: "onNoData of a job metric is Wait: a Job succeeds or fails"},
		job("start after the deadline", `{template: {}, deadline: 1m}`, "", "job.startDeadline must be shorter than job.deadline"),
		job("deadline too short", `{template: {}, deadline: 9s, startDeadline: 5s}`, ".deadline", "deadline must be from 10s to 6h"),
		job("deadline too long", `{template: {}, deadline: 7h}`, ".deadline", "deadline must be from 10s to 6h"),
		job("start deadline", `{template: {}, startDeadline: 1s}`, ".startDeadline", "startDeadline must be at least 5s"),
		job("interval", `{template: {}, interval: 10ms}`, ".interval", "interval must be at least 1s"),
		job("backoff", `{template: {}, backoffLimit: 11}`, ".backoffLimit", ""),
		job("no template", `{deadline: 10m}`, ".template", ""),
	}
}
