package presets

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Preset is what is known of one source of metrics.
type Preset struct {
	// Name in compare.preset.
	Name v1alpha1.PresetName
	// Of says in a few words whose series these are.
	Of string
	// Total counts all requests, and Bad the bad ones among them.
	Total, Bad Selector
	// Histogram of durations, and their unit; empty: seconds.
	Histogram Selector
	Unit      v1alpha1.LatencyUnit
	// Arms tell the revisions apart; nil where the label pod does.
	Arms *v1alpha1.CompareArms
	// Refused says why the source cannot be used, and what can be used in its place; empty where it can. RefusedLatency says
	// so of latency alone.
	Refused, RefusedLatency string
}

// Selector of series, in parts so that matchers can be added.
type Selector struct {
	Name, Matchers string
}

// With gives the selector in PromQL, with more matchers.
func (s Selector) With(more string) string {
	all := slices.DeleteFunc([]string{s.Matchers, strings.Trim(strings.TrimSpace(more), ",")}, func(m string) bool { return m == "" })
	if len(all) == 0 {
		return s.Name
	}
	return s.Name + "{" + strings.Join(all, ",") + "}"
}

// Find gives a preset by its name.
func Find(name v1alpha1.PresetName) (Preset, bool) {
	i := slices.IndexFunc(All, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return All[i], true
}

// Fill puts what a metric's preset says into what the metric leaves open. Without a preset it gives back what it got. What it
// gives can be filled in again and stays as it is.
func Fill(c *v1alpha1.Compare) (*v1alpha1.Compare, error) {
	if c == nil || c.Preset == "" {
		return c, nil
	}
	p, known := Find(c.Preset)
	switch {
	case !known:
		return nil, fmt.Errorf("%q is not known: known are %s", c.Preset, names())
	case p.Refused != "":
		return nil, errors.New(p.Refused)
	case c.Latency != nil && c.Latency.Histogram == "" && p.RefusedLatency != "":
		return nil, errors.New(p.RefusedLatency)
	}
	out := c.DeepCopy()
	if e := out.Errors; e != nil {
		e.Total, e.Bad = cmp.Or(e.Total, p.Total.With(c.Matchers)), cmp.Or(e.Bad, p.Bad.With(c.Matchers))
	}
	if l := out.Latency; l != nil && l.Histogram == "" {
		l.Histogram, l.Unit = p.Histogram.With(c.Matchers), cmp.Or(l.Unit, p.Unit)
	}
	switch {
	case out.Arms == nil:
		out.Arms = p.Arms.DeepCopy()
	case out.Arms.Canary == "" && p.Arms != nil: // the label alone is another one: a scrape has renamed it
		out.Arms.Canary, out.Arms.Stable = p.Arms.Canary, p.Arms.Stable
	}
	return out, nil
}

func names() string {
	out := make([]string, 0, len(All))
	for _, p := range All {
		out = append(out, string(p.Name))
	}
	return strings.Join(out, ", ")
}
