package planner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// taken is a route whose split somebody else has undone.
func taken() *Observed {
	o := observed(v1alpha1.StageStepping)
	a := o.attempt()
	a.CarriedAt, a.EndpointsAt = ptr(at(-time.Minute)), ptr(at(-time.Hour))
	o.Routes[0].Object = route(0)
	o.Routes[0].Object.SetAnnotations(nil)
	return &o
}

func raisesRoute(p Plan) bool {
	for _, a := range p.Actions {
		if r, ok := a.(PatchRoute); ok && r.Raises {
			return true
		}
	}
	return false
}

func TestForeignWriteIsCountedAndPutRight(t *testing.T) {
	o := taken()
	p := Make(*o)
	c := p.Status.Attempt.Contest
	if c == nil || c.Changes != 1 || c.Route != "HTTPRoute r" || !c.At.Time.Equal(noon) || !p.Store || !raisesRoute(p) {
		t.Fatalf("contest %+v, stored %t, actions:\n%s", c, p.Store, lines(p))
	}
	if a := p.Status.Attempt; a.CarriedAt != nil || a.AcceptedAt != nil || a.ConfirmedAt != nil {
		t.Errorf("the evidence of that time counts: %+v", a)
	}
	if p.Events[0].Reason != "RouteChanged" {
		t.Errorf("events: %+v", p.Events)
	}
	o.Rollout.Status = p.Status // nothing was written yet: it is not counted twice
	if c := Make(*o).Status.Attempt.Contest; c.Changes != 1 {
		t.Errorf("counted twice: %+v", c)
	}
	o.Routes[0].Object = route(50)
	p = Make(*o)
	if p.Status.Attempt.CarriedAt == nil || p.Status.Attempt.Contest.Changes != 1 {
		t.Errorf("put right: %+v", p.Status.Attempt)
	}
}

func TestContestedRouteIsLeftForLonger(t *testing.T) {
	waits := []time.Duration{0, 3 * time.Second, 5 * time.Second, 9 * time.Second, 17 * time.Second, 33 * time.Second}
	for before, wait := range waits {
		o := taken()
		if before > 0 {
			o.attempt().Contest = &v1alpha1.Contest{Changes: int32(before), Route: "HTTPRoute r", By: "argocd", At: at(-time.Hour)}
		}
		p := Make(*o)
		if got := raisesRoute(p); got != (wait == 0) {
			t.Errorf("change %d: put right at once: %t", before+1, got)
		}
		if wait > 0 && !p.NextLook.Equal(noon.Add(wait)) {
			t.Errorf("change %d: next look after %s, want %s", before+1, p.NextLook.Sub(noon), wait)
		}
		o.Rollout.Status, o.Now = p.Status, noon.Add(wait)
		if !raisesRoute(Make(*o)) {
			t.Errorf("change %d: not put right after %s: %s", before+1, wait, Make(*o).Status.BlockedBy)
		}
		c := v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionTrafficReady)
		if contested := c.Reason == ReasonRouteContested; contested != (before == 5) || contested && !strings.Contains(c.Message, "6 times") {
			t.Errorf("change %d: %+v", before+1, c)
		}
	}
}

// However often a route was changed: what takes requests from the canary is written at once.
func TestContestDoesNotHoldTheWayBack(t *testing.T) {
	o := taken()
	o.attempt().Contest = &v1alpha1.Contest{Changes: 20, Route: "HTTPRoute r", At: at(0)}
	o.Routes[0].Object = route(80)
	if got := lines(Make(*o)); !strings.Contains(got, "patch HTTPRoute r to canary weight 50") {
		t.Errorf("above the step's weight, actions:\n%s", got)
	}
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if got := lines(Make(*o)); !strings.Contains(got, "patch HTTPRoute r to canary weight 0") {
		t.Errorf("aborted, actions:\n%s", got)
	}
}

func TestConfirm(t *testing.T) {
	silent := func(o *Observed) { delete(o.Routes[0].Object.Object, "status") }
	gate := func(o *Observed, level v1alpha1.ConfirmLevel, settle v1alpha1.Duration) {
		o.Routes[0].Gateways = []Gateway{{Name: "Gateway n/gw", Controller: "example.com/gate"}}
		o.Rollout.Spec.Traffic.Confirm = []v1alpha1.Confirmation{{ControllerName: "example.com/gate", Level: level, Settle: settle}}
	}
	tests := map[string]struct {
		change func(*Observed)
		want   string
	}{
		"status is waited for":            {silent, "has not reported on the route"},
		"status is not trusted":           {func(o *Observed) { silent(o); gate(o, v1alpha1.ConfirmFixed, "") }, "settles until " + clock(noon.Add(10*time.Second))},
		"status, and a settle of its own": {func(o *Observed) { gate(o, v1alpha1.ConfirmStatus, "40s") }, "settles until " + clock(noon.Add(40*time.Second))},
		"another controller is not trusted": {func(o *Observed) {
			silent(o)
			gate(o, v1alpha1.ConfirmFixed, "")
			o.Routes[0].Gateways[0].Controller = "x"
		}, "has not reported on the route"},
		"the slowest counts": {func(o *Observed) {
			gate(o, v1alpha1.ConfirmStatus, "3s")
			o.Routes[0].Gateways = append(o.Routes[0].Gateways, Gateway{Name: "Gateway n/other", Controller: "x"})
		}, "settles until " + clock(noon.Add(10*time.Second))},
	}
	for name, test := range tests {
		o := observed(v1alpha1.StageStepping)
		a := o.attempt()
		a.AcceptedAt, a.ConfirmedAt = nil, nil
		test.change(&o)
		if got := Make(o).Status.BlockedBy; !strings.Contains(got, test.want) {
			t.Errorf("%s: blocked by %q, want %q", name, got, test.want)
		}
	}
	o := observed("")
	silent(&o)
	gate(&o, v1alpha1.ConfirmFixed, "")
	o.Revision = "b"
	if p := Make(o); p.Status.Attempt == nil {
		t.Errorf("a gateway that reports nothing holds the start up: %s", p.Status.BlockedBy)
	}
	if got := fmt.Sprint(NeedsFeatures(&o.Rollout.Spec)); got != "true" {
		t.Error("its controllers are not read")
	}
}

// T10: what a metric finds bad while somebody else had changed the routes is measured again; what it finds bad with our weights in
// force counts, and so does what compares, and everything once a route is contested.
func TestFailureWhileRoutesWereNotOurs(t *testing.T) {
	period := func(since, until *metav1.Time) func(*Observed) {
		return func(o *Observed) {
			o.attempt().Contest = &v1alpha1.Contest{Changes: 1, Route: "HTTPRoute r", By: "argocd", At: at(-time.Minute), Since: since, Until: until}
		}
	}
	began, over := ptr(at(-time.Minute)), ptr(at(-20*time.Second))
	failed := "Withdrawing: RolledBack AnalysisFailed"
	for name, test := range map[string]struct {
		measured time.Duration
		change   func(*Observed)
		want     string
	}{
		"nobody changed anything": {-30 * time.Second, func(*Observed) {}, failed},
		"before the change":       {-61 * time.Second, period(began, over), failed},
		"meanwhile":               {-30 * time.Second, period(began, over), "Stepping 1 at 50"},
		"and it is not right yet": {-time.Second, func(o *Observed) {
			period(began, nil)(o)
			o.attempt().CarriedAt, o.attempt().ConfirmedAt, o.Routes[0].Object = nil, nil, route(80)
		}, "Stepping 1 at 50"},
		"after it was put right":   {-20 * time.Second, period(began, over), failed},
		"an older version says it": {-30 * time.Second, period(nil, nil), failed},
		"the route is contested":   {-30 * time.Second, func(o *Observed) { period(began, over)(o); o.attempt().Contest.Changes = 6 }, failed},
		"another failed before":    {-30 * time.Second, func(o *Observed) { period(began, over)(o); o.Runs["shop-2"].Status.Metrics[1].Mode = "" }, failed},
		"it compares": {-30 * time.Second, func(o *Observed) {
			period(began, over)(o)
			o.Runs["shop-2"].Status.Metrics[0].Comparison = &v1alpha1.Comparison{}
		}, failed},
		"no time of a measurement": {-30 * time.Second, func(o *Observed) { period(began, over)(o); o.Runs["shop-2"].Status.Metrics[0].Recent = nil }, failed},
		"taken back by ourselves, which could not be stored": {0, func(o *Observed) {
			o.Routes[0].Object = route(0)
			o.Routes[0].Object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationUpdate,
				FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
		}, failed},
		"found changed in the look": {0, func(o *Observed) { o.Routes[0].Object = route(80) }, "Stepping 1 at 50"},
	} {
		o := observed(stepping)
		o.attempt().CarriedAt = ptr(at(-time.Minute))
		o.analysed(v1alpha1.VerdictFail, nil).Status.Metrics[0].Recent = []v1alpha1.Measurement{{At: at(test.measured), Result: "Failed"}}
		o.Runs["shop-2"].Status.Metrics[1].Recent = []v1alpha1.Measurement{{At: at(-time.Hour), Result: "Failed"}}
		test.change(&o)
		p := Make(o)
		if got := summary(p); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if again := strings.Contains(lines(p), "delete AnalysisRun shop-2"); again != (test.want != failed) {
			t.Errorf("%s: measured again: %t; actions:\n%s", name, again, lines(p))
		}
	}
}

// The time that does not count ends when traffic has followed what was put right, whatever else is waited for.
func TestChangedRoutesHaveAnEnd(t *testing.T) {
	o := taken()
	o.replicaSet("b").Available = 1
	p := Make(*o)
	if c := p.Status.Attempt.Contest; c == nil || !c.Since.Time.Equal(noon) || c.Until != nil {
		t.Fatalf("%+v", c)
	}
	o.Rollout.Status, o.Now, o.Routes[0].Object = p.Status, noon.Add(3*time.Second), route(50)
	p = Make(*o)
	if c := p.Status.Attempt.Contest; c.Until == nil || !c.Until.Time.Equal(noon.Add(13*time.Second)) {
		t.Fatalf("put right: %+v", c)
	}
	o.Rollout.Status, o.Now, o.Routes[0].Object = p.Status, noon.Add(9*time.Second), route(0)
	p = Make(*o)
	if c := p.Status.Attempt.Contest; !c.Since.Time.Equal(noon) || c.Until != nil {
		t.Errorf("changed again before traffic had followed: %+v", c)
	}
}
