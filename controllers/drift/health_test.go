package drift

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func lively(name, version string) Verified {
	return Verified{Ref: ref(name), State: state(version, 1, 1), Lively: true}
}

// TestStirred: whatever is later than what was judged, of objects whose health may change.
func TestStirred(t *testing.T) {
	tr, told := tracker()
	tr.Verified(shop, []Verified{lively("a", "5"), {Ref: ref("b"), State: state("5", 1, 1)}})
	tr.saw(ref("a"), state("4", 1, 1))
	tr.saw(ref("b"), state("9", 1, 1))
	if list, next := tr.Stirred("u"); len(list) != 0 || next != 0 || *told != 0 {
		t.Errorf("at rest: %v, in %s, told %d times", list, next, *told)
	}
	tr.saw(ref("a"), state("6", 1, 1))
	if list, _ := tr.Stirred("u"); fmt.Sprint(list) != fmt.Sprint([]Suspect{{Ref: ref("a"), Version: "6"}}) || *told != 1 {
		t.Errorf("stirred: %v, told %d times", list, *told)
	}
	tr.Judged(shop, []Verified{{Ref: ref("a"), State: State{Version: "6"}, Lively: true}})
	if list, next := tr.Stirred("u"); len(list) != 0 || next != 0 {
		t.Errorf("judged: %v, in %s", list, next)
	}
	if list, _ := tr.Suspects("u"); len(list) != 0 {
		t.Errorf("suspects: %v", list)
	}
}

// TestWhatIsNeverAtRestIsToldOnceInAWhile and read with pauses that double, up to a minute; after two minutes of rest, at once.
func TestWhatIsNeverAtRestIsToldOnceInAWhile(t *testing.T) {
	tr, told := tracker()
	now := time.Unix(1000, 0)
	tr.Now = func() time.Time { return now }
	tr.Verified(shop, []Verified{lively("a", "1")})
	var looks []string
	start, version := now, 1
	for range 300 {
		version++
		before := *told
		tr.saw(ref("a"), state(fmt.Sprint(version), 1, 1))
		if due := tr.members["u"].pace.due(now); *told > before || due == 0 { // it was told, or had said that it would come
			if list, _ := tr.Stirred("u"); len(list) > 0 {
				looks = append(looks, now.Sub(start).String())
				tr.Judged(shop, []Verified{{Ref: ref("a"), State: State{Version: fmt.Sprint(version)}, Lively: true}})
			}
		}
		now = now.Add(time.Second)
	}
	if got, want := fmt.Sprint(looks), "[0s 5s 15s 35s 1m15s 2m15s 3m15s 4m15s]"; got != want {
		t.Errorf("looks at %s, want %s", got, want)
	}
	if *told > 2*len(looks) {
		t.Errorf("told %d times of %d changes", *told, version)
	}
	before := *told
	now = now.Add(3 * quiet)
	tr.Listens("u", false)
	tr.saw(ref("a"), state("899", 1, 1))
	if *told != before {
		t.Error("it was told, and did not listen")
	}
	tr.Listens("u", true)
	tr.saw(ref("a"), state("900", 1, 1))
	if *told != before+1 {
		t.Error("it was not told")
	}
	if list, _ := tr.Stirred("u"); len(list) != 1 {
		t.Error("after rest it is not looked at at once")
	}
}

// TestManyThatStirAreReadInTurn: 32 at once, those first that waited longest.
func TestManyThatStirAreReadInTurn(t *testing.T) {
	tr, _ := tracker()
	now := time.Unix(1000, 0)
	tr.Now = func() time.Time { return now }
	var objects []Verified
	for i := range 40 {
		objects = append(objects, lively(fmt.Sprint("o", i), "1"))
	}
	tr.Verified(shop, objects)
	now = now.Add(time.Minute)
	seen := map[string]bool{}
	for round := range 2 {
		for _, o := range objects {
			tr.saw(o.Ref, state(fmt.Sprint(10+round), 1, 1))
		}
		list, next := tr.Stirred("u")
		if len(list) != maxStirred || next == 0 {
			t.Fatalf("%d objects, in %s", len(list), next)
		}
		for _, s := range list {
			seen[s.Name] = true
			tr.Judged(shop, []Verified{{Ref: s.Ref, State: State{Version: s.Version}, Lively: true}})
		}
		now = now.Add(time.Minute)
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 were read", len(seen))
	}
}

// TestJudgedBeforeAnythingWasCompared: a process that begins while a Sync waits watches its objects all the same.
func TestJudgedBeforeAnythingWasCompared(t *testing.T) {
	tr, told := tracker()
	tr.Judged(shop, []Verified{lively("a", "5"), {Ref: ref("gone"), Lively: true}})
	tr.saw(ref("a"), state("6", 2, 2))
	tr.saw(ref("gone"), state("7", 2, 2))
	if list, _ := tr.Stirred("u"); len(list) != 2 || *told == 0 {
		t.Errorf("stirred: %v, told %d times", list, *told)
	}
	if list, _ := tr.Suspects("u"); len(list) != 0 {
		t.Errorf("nothing was compared, and yet: %v", list)
	}
	tr.Judged(Member{UID: "v", Key: types.NamespacedName{Namespace: "n", Name: "v"}}, []Verified{lively("a", "8")})
	if r := tr.record(ref("a")); r.sync != "u" {
		t.Error("an object went over to a Sync that has only read it")
	}
}
