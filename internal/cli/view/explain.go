package view

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Explain tells of the compare metrics of a run, from what stands in the run alone.
func Explain(run *v1alpha1.AnalysisRun, s Style, width int) string {
	var out strings.Builder
	name := run.Name
	if run.Namespace != "" {
		name = run.Namespace + "/" + name
	}
	fmt.Fprintf(&out, "%s  %s\n", s.Paint("AnalysisRun "+Clean(name), Strong), s.Paint(orDash(string(run.Status.Verdict)), toneOfVerdict(run.Status.Verdict)))
	wrap(&out, Clean(run.Status.Message), "", width)
	if a := run.Spec.Arms; a != nil {
		fmt.Fprintf(&out, "canary %s against stable %s", Clean(a.CanaryRevision), Clean(orDash(a.StableRevision)))
		if run.Status.StartedAt != nil {
			fmt.Fprintf(&out, ", since %s", run.Status.StartedAt.UTC().Format("2006-01-02 15:04:05"))
		}
		out.WriteString(" UTC\n")
	}
	shown := 0
	for i := range run.Status.Metrics {
		m := &run.Status.Metrics[i]
		if m.Comparison == nil {
			continue
		}
		shown++
		e := explanation{MetricStatus: m, run: run, style: s, width: width}
		out.WriteString("\n" + e.text())
	}
	if shown == 0 {
		out.WriteString("\nNo metric of this run was compared: thresholds and other metrics have no course. `kubectl describe analysisrun` shows their measurements.\n")
	}
	return out.String()
}

type explanation struct {
	*v1alpha1.MetricStatus
	run   *v1alpha1.AnalysisRun
	style Style
	width int
}

func (e *explanation) text() string {
	var out strings.Builder
	c := e.Comparison
	state := c.State
	if state == "" {
		state = v1alpha1.ComparisonState(e.Verdict)
	}
	title := e.style.Paint(Clean(e.Name), Strong) + "  " + e.style.Paint(Clean(string(state)), toneOfState(state))
	if e.Mode == v1alpha1.MetricDryRun {
		title += "  " + e.style.Paint("(reported, decides nothing)", Faint)
	}
	out.WriteString(title + "\n")
	wrap(&out, Clean(e.Message), "  ", e.width)
	rows := [][2]string{}
	if c.CanaryRequests+c.StableRequests > 0 {
		what := "bad"
		if c.Bound != "" {
			what = "slower than " + c.Bound + " s"
		}
		rows = append(rows, [2]string{"counts", fmt.Sprintf("canary %d of %d %s, stable %d of %d", c.CanaryBad, c.CanaryRequests, what, c.StableBad, c.StableRequests)})
	}
	if c.CanaryMean != "" {
		rows = append(rows, [2]string{"means", fmt.Sprintf("canary %s, stable %s; ratio %s", c.CanaryMean, c.StableMean, c.MeanRatio)})
	}
	if c.Ratio != "" {
		rows = append(rows, [2]string{"ratio", c.Ratio + " of the bad shares, canary to stable"})
	}
	if c.Dispersion != "" {
		rows = append(rows, [2]string{"dispersion", c.Dispersion + " between stable pods (1: requests are independent)"})
	}
	rows = append(rows, [2]string{"evidence", fmt.Sprintf("harm %s (all metrics together halt at %s), safety %s (20 opens the step)", orDash(c.Harm), short(1/e.alpha()), orDash(c.Safety))})
	if c.Wait != "" {
		rows = append(rows, [2]string{"wait", "about " + string(c.Wait) + " at the present traffic"})
	}
	for _, r := range rows {
		fmt.Fprintf(&out, "  %-11s%s\n", r[0], Clean(r[1]))
	}
	out.WriteString(e.charts())
	return out.String()
}

func (e *explanation) alpha() float64 {
	if ev := e.run.Spec.Evidence; ev != nil {
		if rate, err := strconv.ParseFloat(ev.FalseAbortRate, 64); err == nil && rate > 0 {
			return rate
		}
	}
	return 0.01
}

// charts of the ratio and of the evidence; none where the course has a single point.
func (e *explanation) charts() string {
	if len(e.History) < 2 {
		return ""
	}
	var band, harm, safety []mark
	for _, p := range e.History {
		if low, likely, high, ok := parseRatio(p.Ratio); ok {
			band = append(band, mark{at: p.At.Time, low: low, value: likely, high: high})
		}
		if v, ok := parseNumber(p.Harm); ok {
			harm = append(harm, mark{at: p.At.Time, value: v})
		}
		if v, ok := parseNumber(p.Safety); ok {
			safety = append(safety, mark{at: p.At.Time, value: v})
		}
	}
	out := ""
	if len(band) > 0 {
		c := newChart(e.width, 9, lowest(band), highest(band), e.History)
		c.line(1, '-')
		c.bands(band)
		out += "\n  ratio, canary to stable: o most likely, | where it lies, - as good as stable\n" + c.text()
	}
	c := newChart(e.width, 7, 0.01, 1/e.alpha()*10, e.History)
	c.line(1/e.alpha(), '=')
	c.line(20, '-')
	c.points(safety, 's')
	c.points(harm, 'H')
	return out + fmt.Sprintf("\n  evidence: H harm (= halts at %s), s safety (- steps at 20)\n", short(1/e.alpha())) + c.text()
}

// highest value of the ratio's scale: a power of 2 from 2 to 64 that holds the intervals.
func highest(band []mark) float64 {
	top := 2.0
	for _, m := range band {
		for top < 64 && (top < m.value || top < m.high && !math.IsInf(m.high, 1)) {
			top *= 2
		}
	}
	return top
}

// lowest value of the ratio's scale: a power of 2 from 1/64 to 1/2.
func lowest(band []mark) float64 {
	bottom := 0.5
	for _, m := range band {
		for bottom > 1.0/64 && (bottom > m.value || bottom > m.low && m.low > 0) {
			bottom /= 2
		}
	}
	return bottom
}

func toneOfVerdict(v v1alpha1.RunVerdict) Tone {
	switch v {
	case v1alpha1.VerdictPass:
		return Good
	case v1alpha1.VerdictFail:
		return Bad
	}
	return Warn
}

func toneOfState(s v1alpha1.ComparisonState) Tone {
	switch s {
	case v1alpha1.StateStep:
		return Good
	case v1alpha1.StateHalt:
		return Bad
	}
	return Warn
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// parseRatio reads "2.1 (1.4 to 3.3)".
func parseRatio(text string) (low, likely, high float64, ok bool) {
	fields := strings.Fields(strings.NewReplacer("(", " ", ")", " ", " to ", " ").Replace(text))
	if len(fields) != 3 {
		return 0, 0, 0, false
	}
	likely, a := parseNumber(fields[0])
	low, b := parseNumber(fields[1])
	high, c := parseNumber(fields[2])
	return low, likely, high, a && b && c
}

// parseNumber reads a number that is none below 0; infinity is one.
func parseNumber(text string) (float64, bool) {
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && !math.IsNaN(v) && v >= 0
}

// wrap writes text in lines of a width.
func wrap(out *strings.Builder, text, indent string, width int) {
	line := indent
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > width && strings.TrimSpace(line) != "" {
			out.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	if strings.TrimSpace(line) != "" {
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// mark is a value at a time, and the interval in which it lies.
type mark struct {
	at               time.Time
	low, value, high float64
}
