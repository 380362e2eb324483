package window

import (
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestG22_Windows(t *testing.T) {
	weekdays := []v1alpha1.Weekday{"Mon", "Tue", "Wed", "Thu", "Fri"}
	office := v1alpha1.SyncWindow{Kind: v1alpha1.WindowAllow, Days: weekdays, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}
	freeze := v1alpha1.SyncWindow{Name: "christmas", Kind: v1alpha1.WindowDeny, FirstDate: "2026-12-20", LastDate: "2027-01-02", TimeZone: "Europe/Berlin"}
	night := v1alpha1.SyncWindow{Kind: v1alpha1.WindowAllow, Days: []v1alpha1.Weekday{"Fri"}, From: "22:00", To: "02:00"}
	for name, test := range map[string]struct {
		windows []v1alpha1.SyncWindow
		now     string
		next    string // "" means open
		why     string
	}{
		"none":                       {now: "2026-03-03T03:00:00Z"},
		"within":                     {windows: []v1alpha1.SyncWindow{office}, now: "2026-03-03T08:00:00Z"},
		"the end is not within":      {windows: []v1alpha1.SyncWindow{office}, now: "2026-03-03T16:00:00Z", next: "2026-03-04T08:00:00Z", why: "no window with kind Allow is open"},
		"over the weekend":           {windows: []v1alpha1.SyncWindow{office}, now: "2026-03-06T20:00:00Z", next: "2026-03-09T08:00:00Z", why: "no window with kind Allow is open"},
		"clocks go forward":          {windows: []v1alpha1.SyncWindow{office}, now: "2026-03-27T20:00:00Z", next: "2026-03-30T07:00:00Z", why: "no window with kind Allow is open"},
		"past midnight":              {windows: []v1alpha1.SyncWindow{night}, now: "2026-03-07T01:59:00Z"},
		"only of that day":           {windows: []v1alpha1.SyncWindow{night}, now: "2026-03-08T01:00:00Z", next: "2026-03-13T22:00:00Z", why: "no window with kind Allow is open"},
		"deny wins":                  {windows: []v1alpha1.SyncWindow{office, freeze}, now: "2026-12-22T10:00:00Z", next: "2027-01-04T08:00:00Z", why: `window "christmas" is closed`},
		"deny alone":                 {windows: []v1alpha1.SyncWindow{freeze}, now: "2026-12-22T10:00:00Z", next: "2027-01-02T23:00:00Z", why: `window "christmas" is closed`},
		"deny is over":               {windows: []v1alpha1.SyncWindow{freeze}, now: "2027-01-02T23:00:00Z"},
		"never again":                {windows: []v1alpha1.SyncWindow{{Kind: v1alpha1.WindowAllow, LastDate: "2026-01-01"}}, now: "2026-03-01T00:00:00Z", next: "never", why: "no window with kind Allow is open"},
		"an allow after another one": {windows: []v1alpha1.SyncWindow{office, night}, now: "2026-03-06T23:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			open, next, why, err := Open(test.windows, at(t, test.now))
			if err != nil {
				t.Fatal(err)
			}
			if open != (test.next == "") || why != test.why {
				t.Errorf("open %v, because %q", open, why)
			}
			switch {
			case test.next == "never" || test.next == "":
				if !next.IsZero() {
					t.Errorf("next %s, want none", next)
				}
			case !next.Equal(at(t, test.next)):
				t.Errorf("next %s, want %s", next.UTC().Format(time.RFC3339), test.next)
			}
		})
	}
	for name, w := range map[string]v1alpha1.SyncWindow{"zone": {TimeZone: "Mars/Phobos"}, "local": {TimeZone: "Local"}, "from": {From: "25:00"}, "to": {To: "9"}} {
		if _, _, _, err := Open([]v1alpha1.SyncWindow{w}, time.Now()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
