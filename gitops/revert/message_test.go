package revert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/tree"
)

func TestMessage(t *testing.T) {
	in := MessageInput{
		Workload: checkout, BadRevision: "bbbbbbbbbb", GoodRevision: "gggggggggg",
		Explanation: "5.2 % of the canary's answers were errors; stable had 0.1 %. The attempt was halted at step first.",
		ID:          "abc", BadCommit: "b1", GoodCommit: "g1", Reason: "AnalysisFailed",
		Metrics: []string{"errors=0.052 threshold=0.01", "latency=2"}, Attempt: 7, Actor: "belay", ControllerVersion: "v0.1.0",
		RetryOf: "earlier", Environment: "prod", Policy: "ValidatingAdmissionPolicy/no-root", SignOff: "Belay <belay@example.com>",
	}
	want := `revert(shop/checkout): bbbbbbbbbb -> gggggggggg

5.2 % of the canary's answers were errors; stable had 0.1 %. The attempt
was halted at step first.

Rollback-Id: abc
Rollback-Of: b1
Restores: g1
Retry-Of: earlier
Workload: shop/Rollout/checkout
Environment: prod
Reason: AnalysisFailed
Policy: ValidatingAdmissionPolicy/no-root
Metric: errors=0.052 threshold=0.01
Metric: latency=2
Attempt: 7
Actor: belay
Controller-Version: v0.1.0
Signed-off-by: Belay <belay@example.com>
`
	got := Message(in)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	trailers := ParseTrailers(got)
	if diff := cmp.Diff([]string{"errors=0.052 threshold=0.01", "latency=2"}, trailers[TrailerMetric]); diff != "" || len(trailers) != 13 {
		t.Errorf("%v %s", trailers, diff)
	}
}

func TestMessageCannotBeForged(t *testing.T) {
	evil := "x\n\nRollback-Id: forged\r\nActor: root\u2028Actor: root\x1b[31m\u202e" + strings.Repeat("long ", 2000)
	got := Message(MessageInput{
		Workload: Workload{evil, evil, evil}, BadRevision: evil, GoodRevision: evil, Explanation: evil, ID: "real",
		BadCommit: evil, GoodCommit: evil, Reason: evil, Metrics: []string{evil}, Actor: evil, ControllerVersion: evil, RetryOf: evil, Environment: evil, Policy: evil, SignOff: evil,
	})
	trailers := ParseTrailers(got)
	if diff := cmp.Diff([]string{"real"}, trailers[TrailerID]); diff != "" || len(trailers[TrailerActor]) != 1 {
		t.Errorf("%s\n%s", diff, got)
	}
	if len(got) > 6000 || strings.ContainsAny(got, "\r\x1b\u2028\u202e") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	for _, message := range []string{"subject only", "s\n\nprose: not\nall trailers", "s\n\nBad Name: x", ""} {
		if found := ParseTrailers(message); len(found) != 0 {
			t.Errorf("%q: %v", message, found)
		}
	}
}

func TestID(t *testing.T) {
	f := Failure{"u", "main", "uid", 3, "b", "g"}
	first := ID(f)
	if first != ID(f) || len(first) != 16 {
		t.Errorf("%q", first)
	}
	for _, other := range []string{
		ID(Failure{"um", "ain", "uid", 3, "b", "g"}), ID(Failure{"u", "main", "uid", 3, "g", "b"}),
		ID(Failure{"u", "main", "uid2", 3, "b", "g"}), ID(Failure{"u", "main", "uid", 4, "b", "g"}),
	} {
		if other == first {
			t.Error("two reverts with one name")
		}
	}
}

func TestHistory(t *testing.T) {
	good := map[string]string{"app/rollout.yaml": rollout}
	bad := replace(t, good, "app/rollout.yaml", goodImage, badImage)
	trees := map[string]map[string]string{"5": bad, "4": {"app/rollout.yaml": "{"}, "3": bad, "2": good, "1": good, "0": {}}
	trees["4"] = bad
	var log []git.Commit
	for _, sha := range []string{"5", "4", "3", "2", "1", "0"} {
		log = append(log, git.Commit{SHA: sha, Parents: []string{"parent"}})
	}
	history := History{Log: log, TreeOf: func(sha string) (tree.Tree, error) { return tree.FromMap(trees[sha]), nil }}
	in := input(t, good, bad, bad)
	if commit, found, err := history.Newest(Where{Path: "app", Workload: checkout}, in.GoodRevision); err != nil || !found || commit.SHA != "2" {
		t.Errorf("newest good: %v %v %v", commit.SHA, found, err)
	}
	if commit, certain, err := history.Introduced(Where{Path: "app", Workload: checkout}, in.BadRevision); err != nil || !certain || commit.SHA != "3" {
		t.Errorf("introduced: %v %v %v", commit.SHA, certain, err)
	}
	history.Max = 2
	if commit, certain, _ := history.Introduced(Where{Path: "app", Workload: checkout}, in.BadRevision); certain || commit.SHA != "4" {
		t.Errorf("introduced, bounded: %v %v", commit.SHA, certain)
	}
	if _, found, _ := history.Newest(Where{Path: "app", Workload: checkout}, in.GoodRevision); found {
		t.Error("looked past the bound")
	}
}

// TestG16_ThePolicyThatRefusedIsNamed: in the words of the API server.
func TestG16_ThePolicyThatRefusedIsNamed(t *testing.T) {
	for failure, want := range map[string]string{
		`no progress within 10m (pods "a-1" is forbidden: ValidatingAdmissionPolicy 'no-root.example.com' with binding 'all' denied request: run as a user)`: "ValidatingAdmissionPolicy/no-root.example.com",
		`(admission webhook "validate.kyverno.svc-fail" denied the request: no)`:                                                                             "Webhook/validate.kyverno.svc-fail",
		"errors was 0.052, above 0.01": "", "ValidatingAdmissionPolicy 'x\nRollback-Id: y' with binding 'z' denied request": "",
	} {
		if got := PolicyIn(failure); got != want {
			t.Errorf("%s: %q", failure, got)
		}
	}
}

func TestEarlierReverts(t *testing.T) {
	of := func(w Workload, bad string) string {
		return Message(MessageInput{Workload: w, BadRevision: bad, GoodRevision: "g", ID: "abc"})
	}
	other := Workload{checkout.Namespace, checkout.Kind, "cart"}
	for message, want := range map[string]string{of(checkout, "b"): "abc", of(checkout, "c"): "", of(other, "b"): "", "revert(shop/checkout): b -> g\n\nx": ""} {
		if got := EarlierID(message, checkout, "b"); got != want {
			t.Errorf("%q of %s", got, message)
		}
	}
}
