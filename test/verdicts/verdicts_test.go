package verdicts

import (
	"testing"
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
	for name, minutes := range map[string]float64{"errors +5 pp": 1, "errors +20 pp": 1, "latency x2": 3, "latency x5": 3} {
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

// The same seed gives the same course of events.
func TestSameSeed(t *testing.T) {
	a, b := NewService(Bad[4], 50, true, 7), NewService(Bad[4], 50, true, 7)
	for range 50 {
		x, y := a.Next(0.1), b.Next(0.1)
		if x.Metrics[0].Canary[0].Bad != y.Metrics[0].Canary[0].Bad {
			t.Fatal("the same seed, another course")
		}
	}
}
