package presets_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/belay-delivery/belay/analysis"
	"github.com/belay-delivery/belay/analysis/compare"
	"github.com/belay-delivery/belay/analysis/presets"
	"github.com/belay-delivery/belay/analysis/prometheus"
	"github.com/belay-delivery/belay/analysis/reading"
	"github.com/belay-delivery/belay/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scraped is what a Prometheus would hold of the captures of a folder: files <pod>@<n>.txt, scrape n of a pod.
type scraped []prometheus.Samples

func scrape(t *testing.T, dir string) scraped {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*@*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures of %s: %v", dir, err)
	}
	byID := map[string]*prometheus.Samples{}
	for _, file := range files {
		pod, n, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "@")
		scrapes, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		at := noon.Add(time.Second + time.Duration(scrapes)*15*time.Second)
		for _, s := range parse(t, file, at) {
			labels := map[string]string{"pod": pod, "namespace": "shop", "job": "shop", "instance": pod + ":8080"} // as a scrape adds them
			for k, v := range s.Metric {
				labels[string(k)] = string(v)
			}
			id := analysis.Identity(labels)
			if byID[id] == nil {
				byID[id] = &prometheus.Samples{Labels: labels}
			}
			byID[id].Points = append(byID[id].Points, compare.Point{At: at, Value: float64(s.Value)})
		}
	}
	var out scraped
	for _, s := range byID {
		slices.SortFunc(s.Points, func(a, b compare.Point) int { return a.At.Compare(b.At) })
		out = append(out, *s)
	}
	return out
}

func parse(t *testing.T, file string, at time.Time) model.Vector {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var out model.Vector
	for _, family := range families {
		v, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(at.UnixNano())}, family)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, v...)
	}
	return out
}

// Samples implements prometheus.Sampler: matchers are those of production.
func (s scraped) Samples(_ context.Context, selector string, _ time.Time, _ time.Duration) ([]prometheus.Samples, error) {
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
	for _, one := range s {
		if match(one.Labels) {
			out = append(out, one)
		}
	}
	return out, nil
}

// counted is what the second scrape has more than the first, by arm.
type counted struct {
	Requests, Bad float64
	// Above is how many took longer than a bound.
	Above float64
}

type arms struct{ Canary, Stable counted }

var (
	canary = &analysis.Arm{Revision: "new", Service: "web-canary", Pods: []string{"web-new-c1"}, Addresses: []string{"10.244.0.7"}}
	stable = &analysis.Arm{Revision: "old", Service: "web", Pods: []string{"web-old-s1", "web-old-s2"}, Addresses: []string{"10.244.0.5", "fd00:10:244::6"}}
)

// count reads captures the way the controller does.
func count(t *testing.T, s scraped, c *v1alpha1.Compare, above float64) arms {
	t.Helper()
	kind := compare.Errors
	if c.Latency != nil {
		kind = compare.Latency
	}
	of := reading.Arms{Started: noon, Variables: analysis.Variables{Namespace: "shop", Canary: canary, Stable: stable}}
	for _, name := range slices.Concat(canary.Pods, stable.Pods) {
		of.Pods = append(of.Pods, compare.Pod{Name: name, Canary: strings.Contains(name, "new"), Created: noon.Add(-time.Hour), Born: noon})
	}
	r, err := reading.New(c, of, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := compare.NewBuilder([]compare.Metric{{Kind: kind}}, noon, 15*time.Second)
	b.Watch(r.Pods()...)
	series, err := r.Ask(t.Context(), s, noon.Add(time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if pods, ok := r.Backends(series); ok {
		b.Watch(pods...)
	}
	b.Add(series)
	var out arms
	for _, block := range b.Close(noon.Add(time.Minute)) {
		counts := block.Metrics[0]
		at, found := slices.BinarySearch(counts.Bounds, above)
		if kind == compare.Latency && !found {
			t.Fatalf("no bound of %g s among %v", above, counts.Bounds)
		}
		for _, tally := range counts.Canary {
			out.Canary.add(tally, at)
		}
		for _, tally := range counts.Stable {
			out.Stable.add(tally, at)
		}
	}
	return out
}

func (c *counted) add(t compare.Tally, bound int) {
	c.Requests, c.Bad = c.Requests+t.Requests, c.Bad+t.Bad
	if bound < len(t.Above) {
		c.Above += t.Above[bound]
	}
}

// sent is what was sent between the two scrapes, and slow how much of it took long.
var (
	sent = arms{Canary: counted{Requests: 20, Bad: 3}, Stable: counted{Requests: 80, Bad: 2}}
	slow = arms{Canary: counted{Requests: 20, Above: 4}, Stable: counted{Requests: 80, Above: 6}}
)

// captures are of two revisions: the canary is Service web-canary and pod web-new-c1, stable is Service web and the pods
// web-old-s1 and web-old-s2.
var captures = []struct {
	preset          v1alpha1.PresetName
	matchers        string
	errors, latency arms
	above           float64
}{
	{preset: v1alpha1.PresetHTTPServer, above: 0.1, errors: sent, latency: slow},
	{preset: v1alpha1.PresetHTTPServer, matchers: `method="post"`, above: 0.1,
		errors:  arms{Canary: counted{Requests: 3, Bad: 3}, Stable: counted{Requests: 2, Bad: 2}},
		latency: arms{Canary: counted{Requests: 3}, Stable: counted{Requests: 2}}},
	{preset: v1alpha1.PresetOTelHTTP, above: 0.1, errors: sent, latency: slow},
	{preset: v1alpha1.PresetTraefik, above: 0.1, // and what was sent until the weights had moved
		errors:  arms{Canary: counted{Requests: 31, Bad: 3}, Stable: counted{Requests: 98, Bad: 2}},
		latency: arms{Canary: counted{Requests: 31, Above: 4}, Stable: counted{Requests: 98, Above: 6}}},
	{preset: v1alpha1.PresetEnvoyGateway, errors: sent},
	{preset: v1alpha1.PresetIstio, above: 0.1, errors: sent, latency: slow},
	{preset: v1alpha1.PresetCilium, above: 0.1, errors: sent, latency: slow},
	{preset: v1alpha1.PresetLinkerd, above: 0.05, errors: sent, latency: slow},
}

func TestPresetsCountBothArms(t *testing.T) {
	for _, c := range captures {
		t.Run(fmt.Sprintf("%s %s", c.preset, c.matchers), func(t *testing.T) {
			s := scrape(t, string(c.preset))
			got := count(t, s, &v1alpha1.Compare{Preset: c.preset, Matchers: c.matchers, Errors: &v1alpha1.CompareErrors{}}, 0)
			if diff := cmp.Diff(c.errors, got); diff != "" {
				t.Errorf("errors: %s", diff)
			}
			if c.latency == (arms{}) {
				return
			}
			got = count(t, s, &v1alpha1.Compare{Preset: c.preset, Matchers: c.matchers, Latency: &v1alpha1.CompareLatency{}}, c.above)
			if diff := cmp.Diff(c.latency, got); diff != "" {
				t.Errorf("latency: %s", diff)
			}
		})
	}
}

func TestEveryPresetIsCapturedOrRefused(t *testing.T) {
	for _, p := range presets.All {
		seen := p.Refused != ""
		for _, c := range captures {
			seen = seen || c.preset == p.Name
		}
		if !seen {
			t.Errorf("preset %s has no capture", p.Name)
		}
	}
}

func TestFillLeavesAloneWhatIsGiven(t *testing.T) {
	given := &v1alpha1.Compare{Preset: v1alpha1.PresetHTTPServer, Matchers: ` handler!="/healthz", `,
		Errors: &v1alpha1.CompareErrors{Bad: `http_requests_total{code=~"5..|429"}`}, Arms: &v1alpha1.CompareArms{Label: "kubernetes_pod"}}
	before := given.DeepCopy()
	once, err := presets.Fill(given)
	if err != nil {
		t.Fatal(err)
	}
	want := given.DeepCopy()
	want.Errors.Total = `http_requests_total{handler!="/healthz"}`
	if diff := cmp.Diff(want, once); diff != "" {
		t.Error(diff)
	}
	twice, err := presets.Fill(once)
	if diff := cmp.Diff(once, twice); diff != "" || err != nil {
		t.Errorf("filled in twice: %s, %v", diff, err)
	}
	if diff := cmp.Diff(before, given); diff != "" {
		t.Errorf("what was given has changed: %s", diff)
	}
	if none, err := presets.Fill(nil); none != nil || err != nil {
		t.Errorf("nothing: %v, %v", none, err)
	}
	if _, err := presets.Fill(&v1alpha1.Compare{Preset: "apache"}); err == nil || !strings.Contains(err.Error(), "http-server") {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestSourcesThatCannotTellTheArmsApartSaySo(t *testing.T) {
	for name, c := range map[string]*v1alpha1.Compare{
		"errors of NGINX":  {Preset: v1alpha1.PresetNGINXGatewayFabric, Errors: &v1alpha1.CompareErrors{}},
		"latency of NGINX": {Preset: v1alpha1.PresetNGINXGatewayFabric, Latency: &v1alpha1.CompareLatency{}},
		"latency of Envoy": {Preset: v1alpha1.PresetEnvoyGateway, Latency: &v1alpha1.CompareLatency{}},
	} {
		if _, err := presets.Fill(c); err == nil || !strings.Contains(err.Error(), "with preset http-server or otel-http") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := reading.New(c, reading.Arms{}, 0); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// A scrape that renames the label of a gateway's service is told its new name alone.
func TestOtherLabelOfTheSameArms(t *testing.T) {
	got, err := presets.Fill(&v1alpha1.Compare{Preset: v1alpha1.PresetTraefik, Errors: &v1alpha1.CompareErrors{}, Arms: &v1alpha1.CompareArms{Label: "exported_service"}})
	want, _ := presets.Find(v1alpha1.PresetTraefik)
	if err != nil || got.Arms.Label != "exported_service" || got.Arms.Canary != want.Arms.Canary || got.Arms.Stable != want.Arms.Stable {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every selector of every preset is one, with and without matchers.
func TestPresetsAreSelectors(t *testing.T) {
	arm := &analysis.Arm{Pods: []string{"a"}, Revision: "r", Service: "s"}
	vars := analysis.Variables{Namespace: "n", Canary: arm, Stable: arm}
	for _, p := range presets.All {
		for _, matchers := range []string{"", `a="b",c=~"d"`, `a="{{namespace}}",`} {
			for _, c := range []*v1alpha1.Compare{{Errors: &v1alpha1.CompareErrors{}}, {Latency: &v1alpha1.CompareLatency{}}} {
				c.Preset, c.Matchers = p.Name, matchers
				field, err := analysis.Check(v1alpha1.Metric{Name: "m", Compare: c}, vars)
				if refused := p.Refused != "" || c.Latency != nil && p.RefusedLatency != ""; refused != (field == "compare.preset") || !refused && err != nil {
					t.Errorf("%s with %q: %s: %v", p.Name, matchers, field, err)
				}
			}
		}
		c := &v1alpha1.Compare{Preset: p.Name, Matchers: `a="b"} or other{c="d"`, Errors: &v1alpha1.CompareErrors{}}
		if _, err := analysis.Check(v1alpha1.Metric{Name: "m", Compare: c}, vars); err == nil {
			t.Errorf("%s: matchers that leave the selector are taken", p.Name)
		}
	}
}
