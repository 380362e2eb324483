package drift

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
)

// Member is a Sync as the tracker sees it.
type Member struct {
	UID types.UID
	// Key of the Sync, and the name of its ServiceAccount.
	Key     types.NamespacedName
	Account string
}

// Tracker watches the objects of Syncs. Its zero value with the fields set is ready; Start runs it.
type Tracker struct {
	// Metadata reads as the manager.
	Metadata metadata.Interface
	// As reads as a ServiceAccount.
	As func(account types.NamespacedName) (metadata.Interface, error)
	// Mapper finds the resource of a kind.
	Mapper meta.RESTMapper
	// Namespaces that the manager is limited to; none: all.
	Namespaces []string
	// Manager is the name as which objects are applied.
	Manager string
	// Tell is told of a Sync that has something to look at. It must not block.
	Tell func(types.NamespacedName)
	// Now is the clock; nil is the wall clock.
	Now func() time.Time
	Log logr.Logger

	mu      sync.Mutex
	ctx     context.Context // nil until Start
	kinds   map[schema.GroupKind]map[types.NamespacedName]*record
	members map[types.UID]*member
	watches map[watchKey]*watching
}

// member is a Sync with its objects.
type member struct {
	Member
	refs    []Ref
	watches []watchKey
	pace    pace
	// woken: it was told, at told, and looks at what has stirred once that is due; deaf: it is not to be told.
	woken, deaf bool
	told        time.Time
}

// NeedLeaderElection: only who acts watches.
func (t *Tracker) NeedLeaderElection() bool { return true }

// Start runs the watches until the context ends.
func (t *Tracker) Start(ctx context.Context) error {
	t.mu.Lock()
	t.ctx = ctx
	for key, w := range t.watches {
		t.run(key, w)
	}
	t.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Verified takes in that a Sync has looked at all of its objects, and these are what it found.
func (t *Tracker) Verified(m Member, objects []Verified) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.member(m)
	kept := make(map[Ref]bool, len(objects))
	for _, v := range objects {
		kept[v.Ref] = true
		t.verify(m.UID, v)
	}
	for _, ref := range known.refs {
		if !kept[ref] {
			t.drop(m.UID, ref)
		}
	}
	known.refs = known.refs[:0]
	for _, v := range objects {
		known.refs = append(known.refs, v.Ref)
	}
	t.watchFor(known)
	t.tell(known)
}

// Looked takes in that a Sync has looked at one of its objects.
func (t *Tracker) Looked(m Member, v Verified) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.member(m)
	if slices.Contains(known.refs, v.Ref) {
		t.verify(m.UID, v)
	}
}

// Suspect is an object to look at, and the resourceVersion at which it became suspect.
type Suspect struct {
	Ref
	Version string
}

// Suspects are the objects of a Sync to look at now, and when there may be more: 0, nothing is waiting.
func (t *Tracker) Suspects(uid types.UID) (now []Suspect, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.members[uid]
	if known == nil {
		return nil, 0
	}
	for _, ref := range known.refs {
		r := t.record(ref)
		if r == nil || r.sync != uid || !r.suspect() {
			continue
		}
		if due := r.due(t.now()); due > 0 {
			next = minPositive(next, due)
			continue
		}
		now = append(now, Suspect{Ref: ref, Version: r.seen.Version})
	}
	return now, next
}

func minPositive(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// Unwatched are the kinds of a Sync that nobody may watch for it.
func (t *Tracker) Unwatched(uid types.UID) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.members[uid]
	if known == nil {
		return nil
	}
	var out []string
	for _, key := range known.watches {
		if w := t.watches[key]; w != nil && w.refused && key.account != "" {
			out = append(out, key.kind.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Known are the UIDs under which a Sync of that name is known.
func (t *Tracker) Known(key types.NamespacedName) []types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []types.UID
	for uid, known := range t.members {
		if known.Key == key {
			out = append(out, uid)
		}
	}
	return out
}

// Forget lets a Sync and its objects go.
func (t *Tracker) Forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.members[uid]
	if known == nil {
		return
	}
	for _, ref := range known.refs {
		t.drop(uid, ref)
	}
	delete(t.members, uid)
	t.release(uid, known.watches)
}

func (t *Tracker) member(m Member) *member {
	if t.members == nil {
		t.members, t.watches = map[types.UID]*member{}, map[watchKey]*watching{}
		t.kinds = map[schema.GroupKind]map[types.NamespacedName]*record{}
	}
	known := t.members[m.UID]
	if known == nil {
		known = &member{}
		t.members[m.UID] = known
	}
	known.Member = m
	return known
}

func (t *Tracker) verify(uid types.UID, v Verified) {
	r := t.ensure(v.Ref)
	if r.sync != uid {
		*r = record{seen: r.seen, sync: uid}
	}
	r.verify(v, t.now())
}

func (t *Tracker) record(ref Ref) *record {
	return t.kinds[ref.Kind][types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
}

// ensure is the record of an object, made where there is none.
func (t *Tracker) ensure(ref Ref) *record {
	r := t.record(ref)
	if r == nil {
		r = &record{}
		if t.kinds[ref.Kind] == nil {
			t.kinds[ref.Kind] = map[types.NamespacedName]*record{}
		}
		t.kinds[ref.Kind][types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}] = r
	}
	return r
}

// drop forgets an object, unless it has gone over to another Sync.
func (t *Tracker) drop(uid types.UID, ref Ref) {
	if r := t.record(ref); r != nil && r.sync == uid {
		delete(t.kinds[ref.Kind], types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
		if len(t.kinds[ref.Kind]) == 0 {
			delete(t.kinds, ref.Kind)
		}
	}
}

// tell has a Sync look, if it has something to look at: events may have come before it said what it saw.
func (t *Tracker) tell(known *member) {
	for _, ref := range known.refs {
		if r := t.record(ref); r != nil && r.sync == known.UID && (r.suspect() || r.stirred() && t.wakes(known)) {
			t.Tell(known.Key)
			return
		}
	}
}

// saw takes in an event of a watch.
func (t *Tracker) saw(ref Ref, s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
	if s.Gone && t.record(ref) == nil {
		return
	}
	r := t.ensure(ref)
	r.see(s)
	if s.Gone && r.sync == "" {
		delete(t.kinds[ref.Kind], key)
		return
	}
	if known := t.members[r.sync]; known != nil && (r.suspect() || r.stirred() && t.wakes(known)) {
		t.Tell(known.Key)
	}
}

// listed takes in the end of a list: what a watch has known, and that is not on it, is gone.
func (t *Tracker) listed(key watchKey, present map[types.NamespacedName]bool, version string) {
	t.mu.Lock()
	var gone []Ref
	for name, r := range t.kinds[key.kind] {
		if present[name] || !t.sees(key, name, r) {
			continue
		}
		gone = append(gone, Ref{Kind: key.kind, Namespace: name.Namespace, Name: name.Name})
	}
	t.mu.Unlock()
	for _, ref := range gone {
		t.saw(ref, State{Gone: true, Version: version})
	}
}

// sees says that a watch would see an object.
func (t *Tracker) sees(key watchKey, name types.NamespacedName, r *record) bool {
	if key.namespace != "" && key.namespace != name.Namespace {
		return false
	}
	if key.account == "" {
		return true
	}
	known := t.members[r.sync]
	return known != nil && known.Key.Name == key.sync && known.Key.Namespace == key.home
}

func (t *Tracker) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

func (k watchKey) String() string {
	return fmt.Sprintf("%s in %s as %s", k.kind, cmp.Or(k.namespace, "all namespaces"), cmp.Or(k.account, "the manager"))
}
