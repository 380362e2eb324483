package verdicts

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// seeds of the test; the published table has a thousand.
const seeds = 60

var loop = []Rule{Belay()[2]}

// A fixed set of seeds with bounds that can fail. Wilson's interval of 0 of 420 ends at 0.9 %.
func TestVerdicts(t *testing.T) {
	for _, at := range []Setting{{RPS: 10}, {RPS: 100}, {RPS: 100, Native: true}} {
		t.Run(at.String(), func(t *testing.T) {
			halted, runs := 0, 0
			for _, s := range Good {
				c := Measure(loop, s, at, seeds, 2)[0]
				halted, runs = halted+c.Halted, runs+c.Runs
				if c.Halted > 1 {
					t.Errorf("%s: %d of %d good revisions were halted", s.Name, c.Halted, c.Runs)
				}
				if most := map[float64]float64{10: 45, 100: 15}[at.RPS]; c.Promotes() < 0.9 || c.Median() > most {
					t.Errorf("%s: %.0f %% were promoted, in %.1f minutes (at most %.0f)", s.Name, 100*c.Promotes(), c.Median(), most)
				}
			}
			if _, upper := Wilson(halted, runs); upper > 0.02 {
				t.Errorf("%d of %d good revisions were halted", halted, runs)
			}
			for _, s := range Bad {
				c := Measure(loop, s, at, seeds, 2)[0]
				if s.Material && c.Promoted > 0 {
					t.Errorf("%s: %d of %d were promoted", s.Name, c.Promoted, c.Runs)
				}
				if s.Material && c.Halts() < 0.85 {
					t.Errorf("%s: %.0f %% were halted", s.Name, 100*c.Halts())
				}
			}
		})
	}
}

// How fast, at 100 requests a second.
func TestTimeToHalt(t *testing.T) {
	at := Setting{RPS: 100}
	for name, minutes := range map[string]float64{"errors +5 pp": 1, "errors +5 pp, stable none": 1, "errors +20 pp": 1, "latency x2": 3, "latency x5": 3} {
		for _, s := range Bad {
			if s.Name != name {
				continue
			}
			if c := Measure(loop, s, at, seeds, 2)[0]; !(c.Median() <= minutes) {
				t.Errorf("%s: halted in a median of %.2f minutes, want at most %.0f", name, c.Median(), minutes)
			}
		}
	}
}

// What the design is proud of: small slow-downs are found by the mean, and pods that drift apart are not blamed on the release.
func TestHardOnes(t *testing.T) {
	for _, test := range []struct {
		name        string
		at          Setting
		least, most float64 // share halted, of bad ones within ten minutes
	}{
		{"latency x1.3", Setting{RPS: 100, Native: true}, 0.9, 1}, {"latency x1.3", Setting{RPS: 100}, 0.8, 1},
		{"pods drift, sd 1", Setting{RPS: 100}, 0, 0.05}, {"exactly at the margin of latency", Setting{RPS: 100, Native: true}, 0, 0.02},
		{"a tenth of the scrapes missing, pods restart", Setting{RPS: 100}, 0, 0.02},
	} {
		for _, s := range slices.Concat(Bad, Stress) {
			if s.Name != test.name {
				continue
			}
			c := Measure(loop, s, test.at, seeds, 2)[0]
			share := c.Halts()
			if s.Bad {
				share = c.Within(10)
			}
			if share < test.least || share > test.most {
				t.Errorf("%s, %s: %.0f %% were halted, want %.0f to %.0f", test.at, s.Name, 100*share, 100*test.least, 100*test.most)
			}
		}
	}
}

// Without traffic a canary is neither halted nor promoted.
func TestNoTraffic(t *testing.T) {
	for _, s := range []Scenario{Good[0], Bad[3]} {
		c := Measure(loop, s, Setting{RPS: 0.0001}, 5, 2)[0]
		if c.Halted > 0 || c.Promoted > 0 {
			t.Errorf("%s: %d halted and %d promoted of %d", s.Name, c.Halted, c.Promoted, c.Runs)
		}
	}
}

// The rules of other tools do what they are known for, or the table means nothing.
func TestPeers(t *testing.T) {
	cells := map[string]Cell{}
	for _, s := range []Scenario{Good[0], Good[3], Bad[3]} {
		for i, c := range Measure(Peers(), s, Setting{RPS: 100}, 30, 2) {
			cells[Peers()[i].Name+"|"+s.Name] = c
		}
	}
	for _, r := range Peers() {
		if c := cells[r.Name+"|errors +20 pp"]; c.Halts() < 0.9 {
			t.Errorf("%s halts %.0f %% of what has 20 points more errors", r.Name, 100*c.Halts())
		}
	}
	threshold := Peers()[0].Name
	if c := cells[threshold+"|brown-out of both"]; c.Halts() < 0.9 {
		t.Errorf("%s bears a brown-out of both", threshold)
	}
	if c := cells[threshold+"|independent requests"]; c.Halts() > 0.1 {
		t.Errorf("%s aborts in calm weather", threshold)
	}
}

func TestWilson(t *testing.T) {
	if low, high := Wilson(0, 420); low != 0 || high < 0.0088 || high > 0.0092 {
		t.Errorf("0 of 420: %g to %g", low, high)
	}
	if low, high := Wilson(50, 100); low < 0.40 || high > 0.60 {
		t.Errorf("50 of 100: %g to %g", low, high)
	}
}

// The same seed gives the same course of events, whatever was asked for before, and a copy goes on as the original does.
func TestSameSeed(t *testing.T) {
	a, b := NewService(Bad[4], 50, true, 7), NewService(Bad[4], 50, true, 7)
	for range lookBack {
		a.Next(0)
		b.Next(0)
	}
	c := b.Clone()
	for range 50 {
		x, y, z := a.Next(0.1), b.Next(0.1), c.Next(0.1)
		if diff := cmp.Diff(x, y); diff != "" {
			t.Fatalf("the same seed, another course: %s", diff)
		}
		if diff := cmp.Diff(x, z, cmpopts.EquateApprox(1e-9, 1e-9)); diff != "" {
			t.Fatalf("a copy goes another way: %s", diff)
		}
	}
}

// What pods do is what is counted in the end: no request is lost or invented by scrapes that are late or missing, and no more
// than a restart takes away.
func TestScrapesAreCounted(t *testing.T) {
	for name, restarts := range map[string]float64{"no restarts": 0, "restarts": 20} {
		v := NewService(Scenario{missing: 0.1, restarts: restarts}, 200, false, 3)
		for i := range v.pods {
			if restarts == 0 {
				v.pods[i].counters.restarts = 0
			}
		}
		requests, bad := 0.0, 0.0
		for range lookBack + 200 {
			b := v.Next(0.2)
			for _, tally := range append(b.Metrics[0].Canary, b.Metrics[0].Stable...) {
				requests, bad = requests+tally.Requests, bad+tally.Bad
			}
		}
		if want := 200 * 15.0 * (lookBack*0.8 + 200); requests < 0.6*want || requests > 1.5*want || bad == 0 { // traffic swings
			t.Errorf("%s: %.0f requests of about %.0f were counted, %.0f of them bad", name, requests, want, bad)
		}
		if restarts > 0 {
			continue
		}
		served := 0.0
		for i := range v.pods {
			served += v.pods[i].counters.good + v.pods[i].counters.bad
		}
		for i := range stablePods { // what they had when it began
			served -= v.pods[i].counters.began
		}
		if missing := served - requests; missing < 0 || missing > 0.02*served {
			t.Errorf("%s: %.0f were served, and %.0f counted", name, served, requests)
		}
	}
}
