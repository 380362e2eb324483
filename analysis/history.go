package analysis

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// maxHistory is how many points the course of a metric has at most, as its schema says.
const maxHistory = 60

// point is what a comparison says at a time.
func point(c *v1alpha1.Comparison, at metav1.Time) v1alpha1.ComparisonPoint {
	p := v1alpha1.ComparisonPoint{At: at, State: c.State, Harm: c.Harm, Safety: c.Safety, Ratio: c.MeanRatio,
		Counts: fmt.Sprintf("%d/%d %d/%d", c.CanaryBad, c.CanaryRequests, c.StableBad, c.StableRequests)}
	if c.Ratio != "" && (p.Ratio == "" || c.Bound == "") {
		p.Ratio = c.Ratio
	}
	if c.Step != nil {
		p.Weight = c.Step.Weight
	}
	return p
}

// remember adds a point to a course, and thins it out so that it stays bounded however long the run lasts: points are at least
// a minute apart, and twice as far each time that they would be too many, except those at which the state or the weight
// changed, the first and the last one. It is a function of what it is given, so that a run that is judged again after a
// restart has the same course.
func remember(course []v1alpha1.ComparisonPoint, p v1alpha1.ComparisonPoint) []v1alpha1.ComparisonPoint {
	if n := len(course); n > 0 && !p.At.After(course[n-1].At.Time) {
		course = course[:n-1]
	}
	all := append(course[:len(course):len(course)], p)
	for apart := summaryEvery; ; apart *= 2 {
		if thinned := thin(all, apart); len(thinned) <= maxHistory {
			return thinned
		}
		if apart > 365*24*time.Hour { // nothing but changes: the oldest ones go
			return all[len(all)-maxHistory:]
		}
	}
}

func thin(all []v1alpha1.ComparisonPoint, apart time.Duration) []v1alpha1.ComparisonPoint {
	var out []v1alpha1.ComparisonPoint
	for i, p := range all {
		last := len(out) - 1
		changed := last < 0 || p.State != all[i-1].State || p.Weight != all[i-1].Weight
		if changed || i == len(all)-1 || p.At.Sub(out[last].At.Time) >= apart-time.Second {
			out = append(out, p)
		}
	}
	return out
}
