package drift

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/belay-delivery/belay/gitops/drift"
)

// Ref names an object.
type Ref struct {
	Kind            schema.GroupKind
	Namespace, Name string
}

// State is what is known of an object at a resourceVersion.
type State struct {
	Mark drift.Mark
	// Gone: there is no such object, or it no longer carries the label.
	Gone bool
	// Version is the resourceVersion at which this was so.
	Version string
}

// StateOf reads the state of an object as it was read or written.
func StateOf(o metav1.Object, manager string) State {
	return State{Mark: drift.MarkOf(o, manager), Version: o.GetResourceVersion()}
}

// Verified is an object that a Sync has looked at.
type Verified struct {
	Ref
	State
	// Watchful: a declared field is somebody else's, and is left at that. Then every change counts but that of its status.
	Watchful bool
	// Lively: its health may change although nothing that is declared does.
	Lively bool
}

// record is what is kept of one object. It is the only thing that there is one of per object.
type record struct {
	seen     State // by the watch; Version "": nothing yet
	verified State // by the Sync; Version "": nothing yet
	checked  int64 // unix seconds of the last verification
	sync     types.UID
	watchful bool
	lively   bool
	heat     uint8
	judged   string // the resourceVersion at which the Sync has judged its health; "": not yet
	judgedAt int64  // unix seconds of that
}

const (
	// quiet is after how long without a suspicion an object is cool again.
	quiet = time.Minute
	// cool is how many suspicions in a row are looked at without delay.
	cool = 4
	// shortest is the shortest time between two looks at the health of a Sync's objects.
	shortest = 5 * time.Second
)

// suspect says that the object may not be what the Sync has seen.
func (r *record) suspect() bool {
	if r.seen.Version == "" || r.verified.Version == "" || !later(r.seen.Version, r.verified.Version) {
		return false
	}
	return r.seen.Gone != r.verified.Gone || r.seen.Mark.Own != r.verified.Mark.Own || r.watchful && r.seen.Mark.Wide != r.verified.Mark.Wide
}

// stirred says that the object's health may not be what the Sync has judged it to be.
func (r *record) stirred() bool {
	return r.lively && r.seen.Version != "" && r.judged != "" && later(r.seen.Version, r.judged)
}

func (r *record) judge(v Verified, now time.Time) {
	r.judged, r.judgedAt, r.lively = v.Version, now.Unix(), v.Lively
}

// pace is when health may be looked at again: after five seconds, and after twice as long each time, up to a minute, until nothing
// has stirred for two.
type pace struct {
	at   time.Time
	heat uint8
}

func (p *pace) due(now time.Time) time.Duration {
	if p.at.IsZero() {
		return 0
	}
	return max(p.at.Add(min(shortest<<p.heat, quiet)).Sub(now), 0)
}

func (p *pace) take(now time.Time) {
	switch {
	case now.Sub(p.at) > 2*quiet:
		p.heat = 0
	case shortest<<p.heat < quiet:
		p.heat++
	}
	p.at = now
}

// due is how long the suspicion has to wait.
func (r *record) due(now time.Time) time.Duration {
	if r.heat < cool {
		return 0
	}
	delay := min(time.Second<<(r.heat-cool), quiet)
	return max(time.Unix(r.checked, 0).Add(delay).Sub(now), 0)
}

func (r *record) verify(v Verified, now time.Time) {
	switch since := now.Sub(time.Unix(r.checked, 0)); {
	case since > 2*quiet:
		r.heat = 0
	case r.suspect() && r.heat < cool+6:
		r.heat++
	}
	if v.Gone && v.Version == "" { // nothing says as of when it was not there
		v.Version = "1"
		if r.seen.Gone {
			v.Version = r.seen.Version
		}
	}
	r.checked, r.verified, r.watchful = now.Unix(), v.State, v.Watchful
	r.judge(v, now)
}

// see takes in an event, unless a later one was seen already.
func (r *record) see(s State) {
	if r.seen.Version == "" || later(s.Version, r.seen.Version) {
		r.seen = s
	}
}

// later compares resourceVersions of one kind. Where they are no numbers nothing can be said, and everything counts as
// later: looking once too often is no harm.
func later(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}
