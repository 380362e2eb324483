package lint

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

// fewBounds is below how many finite buckets a histogram tells little.
const fewBounds = 4

// missingRemark says why no series of an arm was found among all that the selector matches.
func missingRemark(field string, q analysis.Selector, all []prometheus.Samples, a arms) remark {
	if len(all) == 0 {
		return wrong(field, "is it scraped, and named so?", "no series matches %s in the last %s", q, lookBack)
	}
	values := valuesOf(all, a.label)
	if len(values) == 0 {
		return wrong("compare.arms", fmt.Sprintf("have the scrape configuration add it, or name another one in compare.arms.label: there are %s", sample(labelNames(all))),
			"%d series match %s, and none has the label %s: the two revisions cannot be told apart", len(all), q, a.label)
	}
	return wrong("compare.arms", "", "%d series match %s, and in none is the label %s %s: it is %s", len(all), q, a.label, a.said, sample(values))
}

// apartRemarks says whether the two revisions can be told apart by the series that were found.
func apartRemarks(field string, q analysis.Selector, found []prometheus.Samples, a arms) []remark {
	values, instances := valuesOf(found, a.label), valuesOf(found, "instance")
	if a.canary == nil {
		if len(values) == 1 && len(instances) > 1 && a.label != "instance" {
			return []remark{wrong("compare.arms", "name a label that differs from pod to pod in compare.arms.label",
				"the series of %s come from %d instances and all have %s=%q: the two revisions cannot be told apart", q.Name, len(instances), a.label, values[0])}
		}
		return nil
	}
	stable := 0
	for _, v := range values {
		canary, is := a.canary.MatchString(v), a.stable.MatchString(v)
		if canary && is {
			return []remark{wrong("compare.arms", "make the expressions exclude each other", "%s=%q is matched by both canary and stable: it would count for neither", a.label, v)}
		}
		if is {
			stable++
		}
	}
	if stable == 0 {
		return []remark{doubtful(field, "", "there are series of the canary alone, by %s=%s: none of stable, with which it is compared", a.label, sample(values))}
	}
	return nil
}

// counterRemarks says whether series look like counters, and whether there is traffic.
func counterRemarks(field, name string, found []prometheus.Samples) []remark {
	if strings.HasSuffix(name, "_created") || strings.HasSuffix(name, "_info") {
		return []remark{wrong(field, "name the counter itself", "%s is no counter", name)}
	}
	falls, grew := 0, false
	for _, s := range found {
		if s.Labels["le"] != "" {
			return []remark{wrong(field, "name its series …_count", "%s is a histogram where a counter is needed", name)}
		}
		down, up := course(s)
		if down > 1 { // a restart is one
			falls++
		}
		grew = grew || up
	}
	switch {
	case 2*falls > len(found):
		return []remark{wrong(field, "name a counter: it only grows", "%s goes up and down, as a gauge does", name)}
	case !grew && strings.HasSuffix(field, "total"):
		return []remark{doubtful(field, "", "%s did not grow in the last %s: without requests nothing can be proven", name, lookBack)}
	}
	return nil
}

// course counts how often a series went down, and says whether it grew.
func course(s prometheus.Samples) (down int, grew bool) {
	for i := 1; i < len(s.Points); i++ {
		before, now := s.Points[i-1].Value, s.Points[i].Value
		switch {
		case now < before:
			down++
		case now > before:
			grew = true
		}
	}
	return down, grew
}

// histogramRemarks says whether series are those of a histogram of durations with a unit, and whether there is traffic.
func histogramRemarks(field, name string, unit v1alpha1.LatencyUnit, found []prometheus.Samples) []remark {
	at := field + ".histogram"
	bounds := map[float64]bool{}
	grew, infinite, native := false, false, false
	var all []prometheus.Samples
	for _, s := range found {
		if s.Labels["le"] == "" {
			continue
		}
		bound, err := strconv.ParseFloat(s.Labels["le"], 64)
		if err != nil {
			continue
		}
		all = append(all, s)
		native = native || !strings.HasSuffix(s.Labels["__name__"], "_bucket")
		infinite = infinite || math.IsInf(bound, 1)
		if !math.IsInf(bound, 1) {
			bounds[bound] = true
		}
		_, up := course(s)
		grew = grew || up
	}
	switch {
	case len(all) == 0 && strings.HasSuffix(name, "_bucket"):
		return []remark{wrong(at, "name it without: "+strings.TrimSuffix(name, "_bucket"), "the name of a histogram has no suffix")}
	case len(all) == 0:
		return []remark{wrong(at, "name a histogram, classic (with series …_bucket) or native", "%s has no buckets: it is no histogram", name)}
	case !infinite:
		return []remark{wrong(at, "keep the bucket le=\"+Inf\" when series are dropped", "%s has no bucket of +Inf: requests cannot be counted", name)}
	}
	var out []remark
	if !native && len(bounds) < fewBounds {
		out = append(out, doubtful(at, "give it more, near the durations that are usual", "%s has %d buckets: small differences cannot be seen", name, len(bounds)))
	}
	out = append(out, unitRemarks(field, name, unit, slices.Sorted(maps.Keys(bounds)), native)...)
	if !grew {
		out = append(out, doubtful(at, "", "%s did not grow in the last %s: without requests nothing can be proven", name, lookBack))
	}
	return out
}

func unitRemarks(field, name string, unit v1alpha1.LatencyUnit, bounds []float64, native bool) []remark {
	milli := strings.HasSuffix(name, "_milliseconds") || strings.HasSuffix(name, "_ms")
	seconds := strings.HasSuffix(name, "_seconds")
	switch {
	case unit == v1alpha1.UnitMilliseconds && seconds:
		return []remark{wrong(field+".unit", "leave it out", "%s is in seconds by its name", name)}
	case unit == v1alpha1.UnitMilliseconds && native:
		return []remark{doubtful(field+".histogram", "have it scraped as a classic one too (always_scrape_classic_histograms)", "%s is a native histogram of milliseconds, which is not understood", name)}
	case unit != v1alpha1.UnitMilliseconds && milli:
		return []remark{wrong(field+".unit", "set it to Milliseconds", "%s is in milliseconds by its name", name)}
	case unit != v1alpha1.UnitMilliseconds && !seconds && len(bounds) > 0 && bounds[len(bounds)-1] >= 1000:
		return []remark{doubtful(field+".unit", "set it to Milliseconds if it is", "%s has buckets up to %g: is it in milliseconds?", name, bounds[len(bounds)-1])}
	}
	return nil
}

// labelsOf gives the first label of matchers that no series has, or else the values of all of them, for people.
func labelsOf(matchers []analysis.Matcher, found []prometheus.Samples) (missing, said string) {
	var parts []string
	for _, m := range matchers {
		values := valuesOf(found, m.Label)
		if len(values) == 0 {
			return m.Label, ""
		}
		parts = append(parts, m.Label+" "+sample(values))
	}
	return "", strings.Join(parts, ", ")
}

// valuesOf a label, each once, in order; without the empty one.
func valuesOf(series []prometheus.Samples, label string) []string {
	seen := map[string]bool{}
	for _, s := range series {
		if v := s.Labels[label]; v != "" {
			seen[v] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func labelNames(series []prometheus.Samples) []string {
	seen := map[string]bool{}
	for _, s := range series {
		for name := range s.Labels {
			if name != "__name__" && name != "le" {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// sample of a list, for people.
func sample(values []string) string {
	const most = 6
	out := make([]string, 0, most)
	for _, v := range values[:min(len(values), most)] {
		if r := []rune(v); len(r) > 120 {
			v = string(r[:119]) + "…"
		}
		out = append(out, strconv.Quote(v))
	}
	if len(values) > most {
		out = append(out, fmt.Sprintf("and %d more", len(values)-most))
	}
	return strings.Join(out, ", ")
}
