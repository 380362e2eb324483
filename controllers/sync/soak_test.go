package sync

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/revision"
)

// States of the Rollout web.
const (
	well   = "well"
	moving = "moving"
	failed = "failed"
)

// soakWorld is a world with watches whose clock stands still; the Sync shop brings a Rollout.
func soakWorld(t *testing.T, more map[string]string) *world {
	w := newWorld(t)
	w.clock = &atomic.Int64{}
	w.clock.Store(w.now.Unix())
	w.watched()
	files := map[string]string{"apps/r.yaml": strings.Replace(rollout, "VAR", "1", 1), "apps/a.yaml": configMap("a", "1")}
	for name, content := range more {
		files[name] = content
	}
	w.start(v1alpha1.PruneDisabled, files, "configmaps", "rollouts.belay.dev")
	w.reconcile()
	return w
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.clock.Store(w.now.Unix())
}

// again is another process, that knows what the API server does.
func (w *world) again() {
	w.restart()
	w.watched()
}

// webIs has the Rollout say that it is well, on its way, or that its revision was taken back.
func (w *world) webIs(state string) {
	w.Helper()
	var r v1alpha1.Rollout
	w.get("web", &r)
	wanted, err := revision.Hash(&r.Spec.Template)
	if err != nil {
		w.Fatal(err)
	}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Ready", Message: "all is well", LastTransitionTime: metav1.Now()}
	if state == moving {
		ready.Status, ready.Message = metav1.ConditionFalse, "1 of 2 pods are ready"
	}
	r.Status.ObservedGeneration, r.Status.Conditions, r.Status.Quarantine = r.Generation, []metav1.Condition{ready}, nil
	if state == failed {
		r.Status.Quarantine = []v1alpha1.Quarantined{{Revision: wanted, Attempt: 1, Reason: "AnalysisFailed", At: metav1.Now()}}
	}
	if err := w.env.Client.Status().Update(w.Context(), &r); err != nil {
		w.Fatal(err)
	}
}

// healthy reconciles a Sync, as a manager does that is told of changes, until its condition Healthy has a status.
func (w *world) healthy(name string, want metav1.ConditionStatus) *v1alpha1.Sync {
	w.Helper()
	var s v1alpha1.Sync
	w.until(func() bool {
		w.Helper()
		_, _ = w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: w.key(name)})
		w.get(name, &s)
		c := healthOf(&s.Status)
		return c != nil && c.Status == want
	})
	return &s
}

// soak tells of the record in force: since, until, wavered, and what broke, relative to a time.
func soak(s *v1alpha1.Sync, from time.Time) string {
	record := inForce(&s.Status)
	at := func(t *metav1.Time) string {
		if t == nil {
			return "-"
		}
		return t.Sub(from).String()
	}
	return fmt.Sprintf("%s to %s, %ds %s", at(record.HealthySince), at(record.HealthyUntil), record.WaveredSeconds, record.Broken)
}

func (w *world) expectSoak(s *v1alpha1.Sync, from time.Time, want string) {
	w.Helper()
	if got := soak(s, from); !strings.HasPrefix(got, want) {
		w.Errorf("healthy %s\nwant    %s", got, want)
	}
}

// TestG23_WhatBreaksLaterIsNoticed: one GET of the object that stirred, nothing at rest, and a restart in between.
func TestG23_WhatBreaksLaterIsNoticed(t *testing.T) {
	w := soakWorld(t, nil)
	start := w.now
	w.webIs(well)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "0s to -, 0s ")
	w.pass(3 * time.Minute)
	w.seen.take()
	w.told()
	for range 3 {
		w.reconcile()
	}
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("at rest: %v", got)
	}
	w.webIs(failed)
	s := w.healthy("shop", metav1.ConditionFalse)
	if got := strings.Join(w.seen.take(), ", "); got != "GET web" {
		t.Errorf("requests as the tenant: %s", got)
	}
	expect(t, s, "True/Applied")
	if c := healthOf(&s.Status); c.Reason != ReasonUnhealthy || !strings.Contains(c.Message, "Rollout.belay.dev "+w.env.Namespace+"/web: revision") {
		t.Errorf("Healthy is %s: %s", c.Reason, c.Message)
	}
	w.expectSoak(s, start, "0s to 3m0s, 0s Rollout.belay.dev "+w.env.Namespace+"/web: revision")
	if got := w.told(); !slices.Contains(got, "Warning Unhealthy") {
		t.Errorf("told %v", got)
	}
	w.again()
	w.pass(3 * time.Minute)
	w.expectSoak(w.healthy("shop", metav1.ConditionFalse), start, "0s to 3m0s, 0s Rollout")
	w.webIs(well)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "6m0s to -, 0s ")
	if got := w.told(); !slices.Contains(got, "Normal Healthy") {
		t.Errorf("told %v", got)
	}
	w.seen.take()
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("at rest again: %v", got)
	}
}

// TestG23_AnObjectThatIsNeverAtRestCostsAReadAMinute whatever it does, and each change costs no round of its own.
func TestG23_AnObjectThatIsNeverAtRestCostsAReadAMinute(t *testing.T) {
	w := soakWorld(t, nil)
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	w.pass(3 * time.Minute)
	w.seen.take()
	var s v1alpha1.Sync
	w.get("shop", &s)
	const seconds = 300
	for i := range seconds {
		var r v1alpha1.Rollout
		w.get("web", &r)
		base := r.DeepCopy()
		r.Status.ReadyReplicas = int32(i + 1)
		if err := w.env.Client.Status().Patch(t.Context(), &r, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 { // time for the watch
			w.healthy("shop", metav1.ConditionTrue)
		}
		w.pass(time.Second)
	}
	if got := w.seen.take(); len(got) == 0 || len(got) > 9 {
		t.Errorf("%d changes in %d s cost %d requests: %v", seconds, seconds, len(got), got)
	}
}

// TestG22_AFlapPausesASoak: what is over within the grace ends no soak and does not count for it; what lasts ends it, where it began.
func TestG22_AFlapPausesASoak(t *testing.T) {
	w := soakWorld(t, map[string]string{"prod/p.yaml": configMap("p", "1")})
	w.follow()
	start := w.now
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	w.pass(20 * time.Minute)
	w.webIs(moving)
	w.expectSoak(w.healthy("shop", metav1.ConditionUnknown), start, "0s to -, 0s ")
	w.again()
	w.pass(9 * time.Minute)
	w.expectSoak(w.healthy("shop", metav1.ConditionUnknown), start, "0s to -, 0s ")
	w.webIs(well)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "0s to -, 540s ")
	w.pass(2 * time.Minute) // 31 minutes, 22 of them healthy
	w.expectProd("", "soaks in Sync \"shop\" until")
	w.pass(9 * time.Minute)
	w.webIs(moving) // it would have soaked by now
	w.healthy("shop", metav1.ConditionUnknown)
	w.expectProd("", "is not Healthy in Sync \"shop\" just now")
	w.again()
	w.pass(grace + time.Second)
	w.expectSoak(w.healthy("shop", metav1.ConditionUnknown), start, "0s to 40m0s, 540s Rollout")
	w.expectProd("", "broke in Sync \"shop\"")
	w.webIs(well)
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "50m1s to -, 0s ")
	w.pass(31 * time.Minute)
	w.expectProd("1", "")
}

// follow makes the Sync prod, which follows shop.
func (w *world) follow() {
	w.Helper()
	prod := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "prod"}}
	prod.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "prod", ServiceAccountName: "deployer"}
	prod.Spec.Gates.Follows = &v1alpha1.FollowsGate{Sync: "shop", Soak: "30m"}
	w.create(prod)
}

// expectProd reconciles prod: what it has applied of p, and what it waits for.
func (w *world) expectProd(applied, waits string) {
	w.Helper()
	w.reconcileOf("prod")
	var s v1alpha1.Sync
	w.get("prod", &s)
	got := ""
	if w.exists("p", &corev1.ConfigMap{}) {
		got = value(w, "p")
	}
	if got != applied || !strings.Contains(s.Status.BlockedBy, waits) || waits == "" && s.Status.BlockedBy != "" {
		w.Errorf("prod runs %q, blocked by %q; want %q, %q", got, s.Status.BlockedBy, applied, waits)
	}
}

// both is bundle n of shop and of prod.
func both(n string) map[string]string {
	return map[string]string{"prod/p.yaml": configMap("p", n), "apps/a.yaml": configMap("a", n)}
}

// firstSoaked has prod follow shop, and run what soaked there.
func firstSoaked(t *testing.T) *world {
	t.Helper()
	w := soakWorld(t, both("1"))
	w.follow()
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	w.pass(31 * time.Minute)
	w.expectProd("1", "")
	return w
}

// TestG22_WhatBreaksAfterItsSoakIsNotTaken: neither while it is broken, nor when another bundle has taken its place.
func TestG22_WhatBreaksAfterItsSoakIsNotTaken(t *testing.T) {
	w := firstSoaked(t)
	w.commit(both("2"))
	start := w.now
	w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "0s to -")
	w.pass(31 * time.Minute)
	w.webIs(failed)
	w.expectSoak(w.healthy("shop", metav1.ConditionFalse), start, "0s to 31m0s, 0s Rollout")
	w.again()
	w.expectProd("1", "broke in Sync \"shop\"")
	w.commit(both("3"))
	w.healthy("shop", metav1.ConditionFalse)
	w.expectProd("1", "is not Healthy in Sync \"shop\"")
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	w.expectProd("1", "soaks in Sync \"shop\" until")
	w.pass(31 * time.Minute)
	w.expectProd("3", "")
}

// TestG22_WhatHasBegunIsFinished although what it follows breaks meanwhile: it does not go back in the middle.
func TestG22_WhatHasBegunIsFinished(t *testing.T) {
	w := firstSoaked(t)
	w.commit(both("2"))
	w.healthy("shop", metav1.ConditionTrue)
	w.pass(31 * time.Minute)
	w.failStatus = w.statusWrites + 2 // the plan, and then what came of it
	if _, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: w.key("prod")}); err == nil || value(w, "p") != "2" {
		t.Fatalf("the failure was not injected: %v, p = %s", err, value(w, "p"))
	}
	var prod v1alpha1.Sync
	w.get("prod", &prod)
	if r := inForce(&prod.Status); r.HealthyUntil == nil || r.Broken != "" {
		t.Errorf("what was in force before is said to soak on: %+v", r)
	}
	w.webIs(failed)
	w.healthy("shop", metav1.ConditionFalse)
	w.seen.take()
	w.again()
	w.expectProd("2", "")
	if got := w.seen.writes(); len(got) > 0 {
		t.Errorf("writes %v", got)
	}
}

// TestG23_HealthIsLookedAfterWhileNothingNewIsApplied: a newer bundle is refused, the Sync is suspended, its Repository is gone.
func TestG23_HealthIsLookedAfterWhileNothingNewIsApplied(t *testing.T) {
	for name, test := range map[string]struct {
		hold  func(*world)
		ready string
	}{
		"refused": {func(w *world) {
			w.commit(map[string]string{"apps/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: [wrong]\n"})
		}, "False/Denied"},
		"suspended": {func(w *world) { w.edit(func(s *v1alpha1.Sync) { s.Spec.Suspend = true }) }, "Unknown/Suspended"},
		"no source": {func(w *world) { w.edit(func(s *v1alpha1.Sync) { s.Spec.Repository = "nowhere" }) }, "False/RepositoryNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			w := soakWorld(t, nil)
			w.webIs(well)
			start := w.now
			w.healthy("shop", metav1.ConditionTrue)
			test.hold(w)
			w.pass(3 * time.Minute)
			expect(t, w.reconcile(), test.ready)
			w.webIs(failed)
			s := w.healthy("shop", metav1.ConditionFalse)
			expect(t, s, test.ready)
			w.expectSoak(s, start, "0s to 3m0s, 0s Rollout")
			w.again()
			w.pass(3 * time.Minute)
			w.webIs(well)
			w.expectSoak(w.healthy("shop", metav1.ConditionTrue), start, "6m0s to -")
			w.pass(3 * time.Minute)
			w.webIs(failed)
			w.healthy("shop", metav1.ConditionFalse)
		})
	}
}

// TestG23_AReadThatFailsIsNoHealth: it is tried again, and until then nothing is said to be well.
func TestG23_AReadThatFailsIsNoHealth(t *testing.T) {
	w := soakWorld(t, nil)
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	w.pass(3 * time.Minute)
	w.seen.answer = func(r *http.Request) *http.Response {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/web") {
			return nil
		}
		return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("no")), Request: r}
	}
	w.webIs(failed)
	s := w.healthy("shop", metav1.ConditionUnknown)
	if c := healthOf(&s.Status); !strings.Contains(c.Message, "reading Rollout.belay.dev "+w.env.Namespace+"/web") {
		t.Errorf("Healthy: %s", c.Message)
	}
	for range 2 {
		_, _ = w.try()
		w.get("shop", s)
		if c := healthOf(&s.Status); c.Status != metav1.ConditionUnknown {
			t.Errorf("Healthy is %s: %s", c.Status, c.Message)
		}
	}
	w.seen.answer = nil
	w.healthy("shop", metav1.ConditionFalse)
}

// TestG42_WhatDependsIsHeldAndNotUndone when what it depends on breaks later.
func TestG42_WhatDependsIsHeldAndNotUndone(t *testing.T) {
	top := func(n string) map[string]string { return map[string]string{"top/t.yaml": configMap("t", n)} }
	w := soakWorld(t, top("1"))
	dependent := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "top"}}
	dependent.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "top", ServiceAccountName: "deployer", DependsOn: []v1alpha1.LocalReference{{Name: "shop"}}}
	w.create(dependent)
	expectTop := func(applied, reason string) {
		t.Helper()
		w.reconcileOf("top")
		w.get("top", dependent)
		if got, message := reasonAndMessage(dependent); value(w, "t") != applied || got != reason {
			t.Errorf("top runs %s, %s: %s", value(w, "t"), got, message)
		}
	}
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	expectTop("1", "True/Applied")
	w.pass(3 * time.Minute)
	w.webIs(failed)
	w.healthy("shop", metav1.ConditionFalse)
	expectTop("1", "True/Applied")
	w.commit(top("2"))
	w.healthy("shop", metav1.ConditionFalse)
	expectTop("1", "False/Waiting")
	w.webIs(well)
	w.healthy("shop", metav1.ConditionTrue)
	expectTop("2", "True/Applied")
}

// TestG22_WhatASoakDependsOnIsInStatus: each step is decided from the status that the one before has left.
func TestG22_WhatASoakDependsOnIsInStatus(t *testing.T) {
	start := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		steps string // minute:status
		want  string
	}{
		"well":                           {"0:True 5:True", "0s to -, 0s "},
		"never well":                     {"0:Unknown 30:Unknown 40:False", "- to -, 0s "},
		"failed":                         {"0:True 5:False 6:False", "0s to 5m0s, 0s down"},
		"failed after a while":           {"0:True 5:Unknown 9:False", "0s to 5m0s, 0s down"},
		"recovered":                      {"0:True 5:False 6:Unknown 8:True", "8m0s to -, 0s "},
		"two flaps":                      {"0:True 5:Unknown 7:True 20:Unknown 21:Unknown 23:True", "0s to -, 300s "},
		"too long":                       {"0:True 5:Unknown 14:Unknown 16:Unknown 17:Unknown", "0s to 5m0s, 0s down"},
		"too long, and back":             {"0:True 5:Unknown 16:Unknown 17:True", "17m0s to -, 0s "},
		"too long, with nobody to see":   {"0:True 5:Unknown 40:True", "40m0s to -, 0s "},
		"flaps do not add up to failure": {"0:True 1:Unknown 10:True 11:Unknown 20:True", "0s to -, 1080s "},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.Sync{Status: v1alpha1.SyncStatus{AppliedDigest: "d", History: []v1alpha1.SyncRecord{{Digest: "d", Reason: ReasonApplied}}}}
			for step := range strings.FieldsSeq(test.steps) {
				var minute int
				var status metav1.ConditionStatus
				if _, err := fmt.Sscanf(step, "%d:%s", &minute, &status); err != nil {
					t.Fatal(err)
				}
				now := start.Add(time.Duration(minute) * time.Minute)
				next := s.Status.DeepCopy()
				(&Reconciler{Now: func() time.Time { return now }}).setHealth(s, next, &health{status: status, reason: "x", names: []string{"down"}})
				soaking(next, healthOf(&s.Status), metav1.NewTime(now))
				s.Status = *next
			}
			if diff := cmp.Diff(test.want, soak(s, start)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestG22_ABundleThatTakesItsPlaceEndsASoak when it begins to, and not when it is done.
func TestG22_ABundleThatTakesItsPlaceEndsASoak(t *testing.T) {
	start := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	at := func(minute int) metav1.Time { return metav1.NewTime(start.Add(time.Duration(minute) * time.Minute)) }
	since, admitted := at(0), at(40)
	for name, test := range map[string]struct {
		health metav1.ConditionStatus
		left   int // the minute of the last change of Healthy
		want   string
	}{
		"well":               {metav1.ConditionTrue, 0, "0s to 40m0s, 0s "},
		"in a flap":          {metav1.ConditionUnknown, 35, "0s to 35m0s, 0s "},
		"not ready for long": {metav1.ConditionUnknown, 20, "0s to 20m0s, 0s down"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.Sync{Status: v1alpha1.SyncStatus{AppliedDigest: "d", History: []v1alpha1.SyncRecord{{Digest: "d", Reason: ReasonApplied, HealthySince: &since}},
				Conditions: []metav1.Condition{{Type: v1alpha1.ConditionHealthy, Status: test.health, Message: "down", LastTransitionTime: at(test.left)}},
				Plan:       &v1alpha1.SyncPlan{Bundle: "e", AdmittedAt: &admitted}}}
			replaced(&s.Status, healthOf(&s.Status), admitted)
			if diff := cmp.Diff(test.want, soak(s, start)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			before := soak(s, start)
			soaking(&s.Status, healthOf(&s.Status), at(50)) // half of the other one is there
			if got := soak(s, start); got != before {
				t.Errorf("while the other one is applied: %s, want %s", got, before)
			}
		})
	}
}
