package drift

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/gitops/drift"
)

var configMap = schema.GroupKind{Kind: "ConfigMap"}

func state(version string, own, wide uint64) State {
	return State{Mark: drift.Mark{Own: own, Wide: wide}, Version: version}
}

// TestSuspect: what counts is later than what was verified, and another mark.
func TestSuspect(t *testing.T) {
	gone := State{Gone: true, Version: "9"}
	for name, c := range map[string]struct {
		seen     State
		verified Verified
		want     bool
	}{
		"nothing seen":               {State{}, Verified{State: state("5", 1, 1)}, false},
		"nothing verified":           {state("9", 2, 2), Verified{}, false},
		"the echo of our write":      {state("5", 1, 1), Verified{State: state("5", 1, 1)}, false},
		"an event from before it":    {state("4", 7, 7), Verified{State: state("5", 1, 1)}, false},
		"status":                     {state("9", 1, 1), Verified{State: state("5", 1, 1)}, false},
		"another field":              {state("9", 1, 2), Verified{State: state("5", 1, 1)}, false},
		"another field, if watchful": {state("9", 1, 2), Verified{State: state("5", 1, 1), Watchful: true}, true},
		"a field of ours":            {state("9", 2, 2), Verified{State: state("5", 1, 1)}, true},
		"versions by number":         {state("10", 2, 2), Verified{State: state("9", 1, 1)}, true},
		"deleted":                    {gone, Verified{State: state("5", 1, 1)}, true},
		"deleted before":             {gone, Verified{State: state("12", 1, 1)}, false},
		"known to be gone":           {gone, Verified{State: State{Gone: true}}, false},
		"there again":                {state("10", 2, 2), Verified{State: State{Gone: true, Version: "9"}}, true},
	} {
		r := &record{seen: c.seen}
		if c.verified.Version != "" || c.verified.Gone {
			r.verify(c.verified, time.Unix(1000, 0))
		}
		if got := r.suspect(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestHeat: an object that turns suspect again and again is looked at ever more rarely, and at once after a while of quiet.
func TestHeat(t *testing.T) {
	r, now := &record{}, time.Unix(1000, 0)
	var delays []string
	for i := range 14 {
		r.verify(Verified{State: state(fmt.Sprint(10*i+1), uint64(i), 1)}, now)
		r.see(state(fmt.Sprint(10*i+5), uint64(i+1), 1))
		delays = append(delays, r.due(now).String())
		now = now.Add(r.due(now))
	}
	if got, want := fmt.Sprint(delays), "[0s 0s 0s 0s 1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s 1m0s]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	now = now.Add(3 * quiet)
	r.verify(Verified{State: state("500", 1, 1)}, now)
	if r.see(state("501", 2, 1)); r.due(now) != 0 {
		t.Errorf("after a while of quiet: %s", r.due(now))
	}
}

func tracker() (*Tracker, *int) {
	told := 0
	t := &Tracker{Manager: "belay-sync", Tell: func(types.NamespacedName) { told++ }}
	return t, &told
}

var shop = Member{UID: "u", Key: types.NamespacedName{Namespace: "n", Name: "shop"}, Account: "deployer"}

func ref(name string) Ref { return Ref{Kind: configMap, Namespace: "n", Name: name} }

// TestEventsBeforeTheSyncHasLooked are not lost, in whichever order they come.
func TestEventsBeforeTheSyncHasLooked(t *testing.T) {
	tr, told := tracker()
	tr.Verified(Member{UID: "other"}, nil)
	tr.saw(ref("a"), state("7", 2, 2)) // somebody's write, while the Sync is at work
	tr.Verified(shop, []Verified{{Ref: ref("a"), State: state("5", 1, 1)}})
	if list, _ := tr.Suspects("u"); len(list) != 1 || *told != 1 {
		t.Errorf("suspects %v, told %d times", list, *told)
	}
	tr.Looked(shop, Verified{Ref: ref("a"), State: state("8", 3, 3)})
	tr.saw(ref("a"), state("8", 3, 3))
	if list, _ := tr.Suspects("u"); len(list) != 0 || *told != 1 {
		t.Errorf("suspects %v, told %d times", list, *told)
	}
}

// TestAListWithoutAnObjectMeansItIsGone: a watch that was cut off lists again.
func TestAListWithoutAnObjectMeansItIsGone(t *testing.T) {
	tr, _ := tracker()
	tr.Verified(shop, []Verified{{Ref: ref("a"), State: state("5", 1, 1)}, {Ref: ref("b"), State: state("30", 1, 1)}, {Ref: ref("c"), State: state("5", 1, 1)}})
	tr.listed(watchKey{kind: configMap}, map[types.NamespacedName]bool{{Namespace: "n", Name: "c"}: true}, "20")
	list, _ := tr.Suspects("u")
	if got := fmt.Sprint(list); got != fmt.Sprint([]Suspect{{Ref: ref("a"), Version: "20"}}) {
		t.Errorf("suspects %s, want a alone: b was written after the list", got)
	}
	tr.listed(watchKey{kind: configMap, namespace: "other"}, nil, "90")
	tr.listed(watchKey{kind: configMap, namespace: "n", account: "x", home: "n", sync: "another"}, nil, "90")
	if list, _ := tr.Suspects("u"); len(list) != 1 {
		t.Errorf("a list of other objects speaks of these: %v", list)
	}
}

// TestNothingStaysBehind: neither of objects that left a Sync, nor of a Sync that is gone; an object that moved is the other's.
func TestNothingStaysBehind(t *testing.T) {
	tr, _ := tracker()
	tr.Verified(shop, []Verified{{Ref: ref("a"), State: state("5", 1, 1)}, {Ref: ref("b"), State: state("5", 1, 1)}})
	tr.Verified(shop, []Verified{{Ref: ref("a"), State: state("5", 1, 1)}})
	tr.Verified(Member{UID: "v", Key: types.NamespacedName{Namespace: "n", Name: "v"}}, []Verified{{Ref: ref("a"), State: state("6", 2, 2)}})
	tr.Forget("u")
	if r := tr.record(ref("a")); r == nil || r.sync != "v" || tr.record(ref("b")) != nil {
		t.Errorf("left: %+v", tr.kinds)
	}
	tr.Forget("v")
	if len(tr.kinds)+len(tr.members)+len(tr.watches) != 0 {
		t.Errorf("left: %v %v %v", tr.kinds, tr.members, tr.watches)
	}
}
