package window

import (
	"fmt"
	"slices"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// horizon is how far ahead the next opening is looked for.
const horizon = 400

const day = "2006-01-02"

// Open says whether the time is within the windows: no Deny covers it, and where there is an Allow, one does. If it is not,
// next is when it will be; zero where that is more than a year ahead. why names what is in the way.
func Open(windows []v1alpha1.SyncWindow, now time.Time) (open bool, next time.Time, why string, err error) {
	all, err := parse(windows)
	if err != nil {
		return false, time.Time{}, "", err
	}
	if open, why = all.at(now); open {
		return true, time.Time{}, "", nil
	}
	return false, all.next(now), why, nil
}

type span struct {
	spec     v1alpha1.SyncWindow
	location *time.Location
	from, to time.Duration // since midnight; to is after from, perhaps on the next day
}

type spans []span

func parse(windows []v1alpha1.SyncWindow) (spans, error) {
	var out spans
	for i, w := range windows {
		s := span{spec: w, location: time.UTC, to: 24 * time.Hour}
		if w.TimeZone != "" {
			location, err := time.LoadLocation(w.TimeZone)
			if err != nil || w.TimeZone == "Local" {
				return nil, fmt.Errorf("gates.windows[%d].timeZone: %q is no name of the IANA database, such as Europe/Berlin", i, w.TimeZone)
			}
			s.location = location
		}
		var err error
		if w.From != "" {
			if s.from, err = clock(w.From); err != nil {
				return nil, fmt.Errorf("gates.windows[%d].from: %w", i, err)
			}
		}
		if w.To != "" {
			if s.to, err = clock(w.To); err != nil {
				return nil, fmt.Errorf("gates.windows[%d].to: %w", i, err)
			}
		}
		if s.to <= s.from {
			s.to += 24 * time.Hour
		}
		out = append(out, s)
	}
	return out, nil
}

func clock(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day, such as 09:30", text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

func (all spans) at(now time.Time) (open bool, why string) {
	allowed, asked := false, false
	for i, s := range all {
		covers := s.covers(now)
		if s.spec.Kind == v1alpha1.WindowDeny {
			if covers {
				return false, s.name(i)
			}
			continue
		}
		asked = true
		allowed = allowed || covers
	}
	if asked && !allowed {
		return false, "no window with kind Allow is open"
	}
	return true, ""
}

func (s span) name(i int) string {
	if s.spec.Name != "" {
		return fmt.Sprintf("window %q is closed", s.spec.Name)
	}
	return fmt.Sprintf("gates.windows[%d] is closed", i)
}

// covers says whether a time is within the window of that day, or of the day before where that runs past midnight.
func (s span) covers(now time.Time) bool {
	local := now.In(s.location)
	for _, back := range []int{0, -1} {
		date := local.AddDate(0, 0, back)
		if s.on(date) && !local.Before(s.moment(date, s.from)) && local.Before(s.moment(date, s.to)) {
			return true
		}
	}
	return false
}

// on says whether the window begins on the day.
func (s span) on(date time.Time) bool {
	text := date.Format(day)
	if s.spec.FirstDate != "" && text < s.spec.FirstDate || s.spec.LastDate != "" && text > s.spec.LastDate {
		return false
	}
	return len(s.spec.Days) == 0 || slices.Contains(s.spec.Days, v1alpha1.Weekday(date.Weekday().String()[:3]))
}

// moment is a time of day on the clocks of the zone.
func (s span) moment(date time.Time, since time.Duration) time.Time {
	minutes := int(since / time.Minute)
	return time.Date(date.Year(), date.Month(), date.Day(), minutes/60, minutes%60, 0, 0, s.location)
}

// next tries every beginning and every end of a window.
func (all spans) next(now time.Time) time.Time {
	for ahead := -1; ahead <= horizon; ahead++ {
		var edges []time.Time
		for _, s := range all {
			date := now.In(s.location).AddDate(0, 0, ahead)
			if s.on(date) {
				edges = append(edges, s.moment(date, s.from), s.moment(date, s.to))
			}
		}
		slices.SortFunc(edges, time.Time.Compare)
		for _, edge := range edges {
			if open, _ := all.at(edge); open && edge.After(now) {
				return edge
			}
		}
	}
	return time.Time{}
}
