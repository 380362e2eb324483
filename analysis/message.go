package analysis

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// metricMessage says in one sentence what the last measurement m means.
func metricMessage(s v1alpha1.MetricStatus, metric v1alpha1.Metric, m v1alpha1.Measurement) string {
	var text string
	switch m.Result {
	case ResultError:
		text = errorMessage(s, metric, m)
	case ResultNoData:
		text = fmt.Sprintf("no data, which counts neither for nor against (%d of %s); it is measured again",
			s.NoData, plural(s.NoData+s.Measured, "answer"))
	case ResultFailed:
		text = fmt.Sprintf("%s (%s)", failedText(metric, m), limitsText(s, ruleOf(metric)))
	default:
		text = passedText(s, metric, m)
	}
	return clip(subject(metric)+": "+text, 1024)
}

func subject(metric v1alpha1.Metric) string {
	switch {
	case metric.Mode == v1alpha1.MetricDryRun:
		return "metric " + metric.Name + " (dry run)"
	case !metric.Decides():
		return "metric " + metric.Name + " (advice)"
	}
	return "metric " + metric.Name
}

func errorMessage(s v1alpha1.MetricStatus, metric v1alpha1.Metric, m v1alpha1.Measurement) string {
	limit := errorLimit(metric)
	effect := ""
	switch s.Verdict {
	case v1alpha1.VerdictFail:
		effect = ", and onProviderError is Rollback"
	case v1alpha1.VerdictPause:
		effect = ", and onProviderError is Pause"
	case v1alpha1.VerdictHold:
		effect = "; no step forward until it answers"
	}
	return fmt.Sprintf("could not be measured %s in a row, limit %d%s: %s", plural(s.ConsecutiveErrors, "time"), limit, effect, m.Message)
}

func failedText(metric v1alpha1.Metric, m v1alpha1.Measurement) string {
	if m.Value == "" {
		return cmp.Or(m.Message, "no data, which onNoData counts as failed")
	}
	v, _ := strconv.ParseFloat(m.Value, 64)
	if m.Message != "" {
		return shortValue(v, v) + ", " + m.Message
	}
	lower, upper, _ := bounds(ruleOf(metric))
	if v < lower {
		return fmt.Sprintf("%s is below min %s", shortValue(v, lower), *ruleOf(metric).Min)
	}
	return fmt.Sprintf("%s is above max %s", shortValue(v, upper), *ruleOf(metric).Max)
}

// limitsText says how much of which limit is used up.
func limitsText(s v1alpha1.MetricStatus, t v1alpha1.Threshold) string {
	var parts []string
	if limit, set := failureLimit(t); set {
		parts = append(parts, fmt.Sprintf("%d of %s failed, limit %d", s.Failed, plural(s.Measured, "measurement"), limit))
	}
	if t.ConsecutiveFailureLimit > 0 {
		parts = append(parts, fmt.Sprintf("%d failed in a row, the metric fails at %d", s.ConsecutiveFailed, t.ConsecutiveFailureLimit))
	}
	return strings.Join(parts, "; ")
}

func passedText(s v1alpha1.MetricStatus, metric v1alpha1.Metric, m v1alpha1.Measurement) string {
	text := cmp.Or(m.Message, "no data, which onNoData counts as passed")
	if v, _ := strconv.ParseFloat(m.Value, 64); m.Value != "" && m.Message != "" {
		text = shortValue(v, v) + ", " + m.Message
	} else if m.Value != "" {
		text = fmt.Sprintf("%s is within %s", shortValue(v, v), boundsText(ruleOf(metric)))
	}
	if n := ruleOf(metric).Count; n > 0 {
		text += fmt.Sprintf(" (%d of %s)", s.Passed, plural(n, "good measurement"))
	}
	return text
}

func boundsText(t v1alpha1.Threshold) string {
	switch {
	case t.Min == nil:
		return "max " + *t.Max
	case t.Max == nil:
		return "min " + *t.Min
	default:
		return "min " + *t.Min + " and max " + *t.Max
	}
}

func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// shortValue is v with as few digits as a person needs, but as many as keep it on its side of bound.
func shortValue(v, bound float64) string {
	short := strconv.FormatFloat(v, 'g', 4, 64)
	if r, _ := strconv.ParseFloat(short, 64); r == bound && v != bound || math.IsInf(r, 0) != math.IsInf(v, 0) {
		return formatValue(v)
	}
	return short
}

func plural(n int32, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(int64(n), 10) + " " + noun + "s"
}

// clip makes one line of s that has at most n characters.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
