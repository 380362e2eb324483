package drift

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxStirred is how many objects of a Sync are to be read at once.
const maxStirred = 32

// Stirred are the objects of a Sync whose health is to be judged anew, those first that were judged longest ago, and when there may
// be more: 0, nothing has stirred. Whatever a Sync's objects do, it is given 32 of them each minute at most, once they are never at rest.
func (t *Tracker) Stirred(uid types.UID) (now []Suspect, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.members[uid]
	if known == nil {
		return nil, 0
	}
	type stirred struct {
		Suspect
		judgedAt int64
	}
	var all []stirred
	for _, ref := range known.refs {
		if r := t.record(ref); r != nil && r.sync == uid && r.stirred() {
			all = append(all, stirred{Suspect{Ref: ref, Version: r.seen.Version}, r.judgedAt})
		}
	}
	if len(all) == 0 {
		return nil, 0
	}
	if due := known.pace.due(t.now()); due > 0 {
		return nil, due
	}
	known.pace.take(t.now())
	known.woken = false
	slices.SortStableFunc(all, func(a, b stirred) int { return cmp.Compare(a.judgedAt, b.judgedAt) })
	if len(all) > maxStirred {
		all, next = all[:maxStirred], known.pace.due(t.now())
	}
	for _, s := range all {
		now = append(now, s.Suspect)
	}
	return now, next
}

// Judged takes in at which state a Sync has judged the health of its objects. Those that it does not know are watched from now on.
func (t *Tracker) Judged(m Member, objects []Verified) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.member(m)
	held := make(map[Ref]bool, len(known.refs))
	for _, ref := range known.refs {
		held[ref] = true
	}
	for _, v := range objects {
		r := t.ensure(v.Ref)
		if r.sync != "" && r.sync != m.UID {
			continue // it has gone over to another Sync
		}
		if r.sync = m.UID; v.Version == "" { // it is not there, and nothing says as of when
			v.Version = cmp.Or(r.seen.Version, "1")
		}
		r.judge(v, t.now())
		if !held[v.Ref] {
			known.refs = append(known.refs, v.Ref)
		}
	}
	t.watchFor(known)
	for _, ref := range known.refs { // what has stirred since it was read
		if r := t.record(ref); r != nil && r.sync == known.UID && r.stirred() && t.wakes(known) {
			t.Tell(known.Key)
			return
		}
	}
}

// Listens says whether a Sync is to be told when an object stirs. One that is not looks when it would anyway.
func (t *Tracker) Listens(uid types.UID, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.members[uid]; known != nil {
		known.deaf = !yes
	}
}

// wakes says whether a Sync must be told that an object has stirred: not if it was, and has not come to look.
func (t *Tracker) wakes(known *member) bool {
	now := t.now()
	if known.deaf || known.woken && now.Sub(known.told) < quiet {
		return false
	}
	known.woken, known.told = true, now
	return true
}
