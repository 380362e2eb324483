package planner

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func TestSeveralApprovals(t *testing.T) {
	o := observed(stepping)
	needApproval(&o)
	o.Rollout.Spec.Approvals.Required = 2
	asked := 0
	approve := func(o *Observed, who string) Plan {
		o.decision(v1alpha1.ActionApprove, 2, 1)
		last := &o.Decisions[len(o.Decisions)-1]
		asked++
		last.Spec.Actor, last.UID = who, types.UID(fmt.Sprintf("approval-%d", asked))
		last.Name = who
		p := Make(*o)
		o.Rollout.Status, o.Decisions = p.Status, nil
		return p
	}
	if p := Make(o); !strings.Contains(p.Status.BlockedBy, "needs approval by 2 people") {
		t.Errorf("blocked by %q", p.Status.BlockedBy)
	}
	if p := approve(&o, "alice"); !strings.Contains(p.Status.BlockedBy, "needs approval by 1 more (so far: alice)") {
		t.Errorf("blocked by %q", p.Status.BlockedBy)
	}
	if p := approve(&o, "alice"); !strings.Contains(lines(p), "alice has approved step 1 already") {
		t.Errorf("the same person counts twice: %s", lines(p))
	}
	if p := approve(&o, "bob"); p.Status.Attempt.Step != 2 {
		t.Errorf("two people approved: step %d, %q", p.Status.Attempt.Step, p.Status.BlockedBy)
	}
}

func TestRoleMetadataFollowsTheRole(t *testing.T) {
	o := observed(stepping)
	o.Rollout.Spec.RoleMetadata = &v1alpha1.RoleMetadata{Canary: v1alpha1.PodMetadata{Labels: map[string]v1alpha1.LabelValue{"track": "canary"}}}
	dressed := DressOf(o.Rollout.Spec.RoleMetadata.Canary)
	o.Pods = []Pod{{Name: "a-1", Revision: "a", Role: v1alpha1.RoleStable, Dress: dressed}, {Name: "b-1", Revision: "b", Role: v1alpha1.RoleCanary},
		{Name: "b-2", Revision: "b", Role: v1alpha1.RoleCanary, Dress: dressed}, {Name: "b-3", Revision: "b"}}
	got := lines(Make(o))
	for _, want := range []string{"set role metadata of 1 pods of a: spec.roleMetadata of role stable", "set role metadata of 1 pods of b: spec.roleMetadata of role canary"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in %s", want, got)
		}
	}
	o.Stable.Keys = []string{"app", "track"}
	if p := Make(o); strings.Contains(lines(p), "role metadata") || !strings.Contains(v1alpha1.FindCondition(p.Status.Conditions, v1alpha1.ConditionTrafficReady).Message, "spec.roleMetadata.canary.labels has track, which Service") {
		t.Errorf("pods would leave the Service: %s", lines(p))
	}
	o.Stable.Keys = nil
	o.decision(v1alpha1.ActionAbort, 2, 1)
	if p := Make(o); strings.Contains(lines(p), "role metadata") {
		t.Errorf("taking back waits for nothing: %s", lines(p))
	}
}

func TestMinReadySecondsReachesReplicaSets(t *testing.T) {
	o := observed("")
	o.Rollout.Spec.MinReadySeconds = 5
	if got := lines(Make(o)); !strings.Contains(got, "set minReadySeconds of a to 5") {
		t.Error(got)
	}
	o.replicaSet("a").MinReadySeconds = 5
	if got := lines(Make(o)); strings.Contains(got, "minReadySeconds") {
		t.Error(got)
	}
}

func TestAuthorsDoNotApprove(t *testing.T) {
	for _, test := range []struct{ authors, actor, want string }{
		{"alice@example.com,bot@example.com", "bob@example.com", ""},
		{"alice@example.com", "oidc:Alice@example.com", "alice@example.com wrote revision b"},
		{"alice@example.com", "alice", "wrote revision b"},
		{"", "bob@example.com", "who wrote revision b is not known"},
		{"unknown", "bob@example.com", "who wrote revision b is not known"},
	} {
		for _, action := range []v1alpha1.DecisionAction{v1alpha1.ActionApprove, v1alpha1.ActionPromote, v1alpha1.ActionPromoteFull} {
			o := observed(stepping)
			needApproval(&o)
			o.Rollout.Spec.Approvals.NotTheAuthor = v1alpha1.Enabled
			o.attempt().Authors = test.authors
			o.decision(action, 2, 1)
			o.Decisions[0].Spec.Actor = test.actor
			got := lines(Make(o))
			if refused := strings.Contains(got, "Refused"); refused != (test.want != "") || !strings.Contains(strings.ToLower(got), strings.ToLower(test.want)) {
				t.Errorf("%q by %s, %s: %s", test.authors, test.actor, action, got)
			}
		}
		// Whoever it is may always go back.
		o := observed(stepping)
		o.Rollout.Spec.Approvals.NotTheAuthor = v1alpha1.Enabled
		o.decision(v1alpha1.ActionAbort, 2, 1)
		if got := lines(Make(o)); strings.Contains(got, "Refused") {
			t.Errorf("abort: %s", got)
		}
	}
	o := observed("")
	o.Revision = "b"
	o.Rollout.Annotations = map[string]string{v1alpha1.AnnotationAuthors: "alice@example.com"}
	if p := Make(o); p.Status.Attempt == nil || p.Status.Attempt.Authors != "alice@example.com" {
		t.Errorf("attempt: %+v", p.Status.Attempt)
	}
}
