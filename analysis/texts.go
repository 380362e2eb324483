package analysis

import (
	"fmt"

	"github.com/belay-delivery/belay/analysis/presets"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// text of a metric that may have placeholders.
type text struct {
	field, value string
	selector     bool
	expression   bool // a regular expression
	plain        bool // neither a query nor a regular expression
}

// texts of a metric whose preset was filled in.
func texts(m v1alpha1.Metric) []text {
	c := m.Compare
	if w := m.Web; w != nil {
		return webTexts(w)
	}
	if m.Job != nil {
		return jobTexts(m.Job)
	}
	if c == nil {
		return []text{{field: "threshold.prometheus.query", value: m.Threshold.Prometheus.Query}}
	}
	var out []text
	if e := c.Errors; e != nil {
		out = append(out, text{field: "compare.errors.total", value: e.Total, selector: true}, text{field: "compare.errors.bad", value: e.Bad, selector: true})
	}
	if l := c.Latency; l != nil {
		out = append(out, text{field: "compare.latency.histogram", value: l.Histogram, selector: true})
	}
	if g := c.Gauge; g != nil {
		out = append(out, text{field: "compare.gauge.series", value: g.Series, selector: true})
	}
	if a := c.Arms; a != nil && a.Canary != "" {
		out = append(out, text{field: "compare.arms.canary", value: a.Canary, expression: true}, text{field: "compare.arms.stable", value: a.Stable, expression: true})
	}
	return out
}

func webTexts(w *v1alpha1.Web) []text {
	out := []text{{field: "web.url", value: w.URL, plain: true}, {field: "web.body", value: w.Body, plain: true}}
	for i, h := range w.Headers {
		if h.Value != nil {
			out = append(out, text{field: fmt.Sprintf("web.headers[%d].value", i), value: *h.Value, plain: true})
		}
	}
	return out
}

// Check says what of a metric cannot be asked, by the field: a placeholder without a value, or a selector, regular
// expression or CEL expression that is none.
func Check(m v1alpha1.Metric, vars Variables) (field string, err error) {
	if _, field, err := Compile(m); err != nil {
		return field, err
	}
	if m.Job != nil {
		_, field, err := podOf(m.Job, vars)
		return field, err
	}
	if m.Web != nil {
		_, field, err := ExpandWeb(m.Web, vars)
		return field, err
	}
	filled, err := presets.Fill(m.Compare)
	if err != nil {
		return "compare.preset", err
	}
	m.Compare = filled
	for _, t := range texts(m) {
		if t.expression {
			_, err = ExpandRegexp(t.value, vars)
		} else {
			var expanded string
			if expanded, err = Expand(t.value, vars); err == nil && t.selector {
				_, err = ParseSelector(expanded)
			}
		}
		if err != nil {
			return t.field, err
		}
	}
	if _, _, err := CompareConfig([]v1alpha1.Metric{m}); err != nil {
		return "compare", fmt.Errorf("%w", err)
	}
	return "", nil
}
