package revert

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

func (w *world) trailers() map[string][]string {
	w.Helper()
	return revert.ParseTrailers(w.git.Git("fleet", "log", "-1", "--format=%B", "main"))
}

// TestG17_TrailersSayWhereAndWhy: the environment of the Sync that applied the workload, the policy that refused its pods, and who
// signs off.
func TestG17_TrailersSayWhereAndWhy(t *testing.T) {
	w := newWorld(t)
	w.fail()
	sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "shop-prod"}}
	sync.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "deployer", Environment: "prod"}
	if err := w.env.Client.Create(w.Context(), sync); err != nil {
		t.Fatal(err)
	}
	r := w.read()
	r.Labels = map[string]string{v1alpha1.LabelSync: "shop-prod"}
	if err := w.env.Client.Update(w.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Status.History[0].Reason = "ProgressDeadline"
	r.Status.History[0].Message = `no progress within 10m (pods "a" is forbidden: ValidatingAdmissionPolicy 'no-root' with binding 'all' denied request: no)`
	w.status(r)
	w.edit(func(repo *v1alpha1.Repository) { repo.Spec.Write.SignOff = v1alpha1.Enabled })
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	got := w.trailers()
	for name, want := range map[string]string{
		revert.TrailerEnvironment: "prod", revert.TrailerPolicy: "ValidatingAdmissionPolicy/no-root", revert.TrailerReason: "ProgressDeadline",
		revert.TrailerSignOff: "Belay <belay@example.com>",
	} {
		if diff := cmp.Diff([]string{want}, got[name]); diff != "" {
			t.Errorf("trailer %s (-want +got):\n%s", name, diff)
		}
	}
	if author := w.git.Git("fleet", "log", "-1", "--format=%an <%ae>", "main"); author != got[revert.TrailerSignOff][0]+"\n" {
		t.Errorf("signed off by somebody else than the author, %q", author)
	}
	if got[revert.TrailerRetry] != nil {
		t.Errorf("a first attempt is no retry: %v", got)
	}
}

// TestG17_TheEnvironmentIsThatOfASyncElsewhere: the Syncs of all environments may be in a namespace of their own.
func TestG17_TheEnvironmentIsThatOfASyncElsewhere(t *testing.T) {
	w := newWorld(t)
	w.fail()
	elsewhere := w.env.Namespace + "-syncs"
	if err := w.env.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: elsewhere}}); err != nil {
		t.Fatal(err)
	}
	for namespace, environment := range map[string]string{elsewhere: "prod", w.env.Namespace: "other"} {
		sync := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop"}}
		sync.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "deployer", Environment: environment}
		if err := w.env.Client.Create(w.Context(), sync); err != nil {
			t.Fatal(err)
		}
	}
	r := w.read()
	r.Labels = map[string]string{v1alpha1.LabelSync: "shop", v1alpha1.LabelSyncNamespace: elsewhere}
	if err := w.env.Client.Update(w.Context(), r); err != nil {
		t.Fatal(err)
	}
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if diff := cmp.Diff([]string{"prod"}, w.trailers()[revert.TrailerEnvironment]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestG17_ARetryNamesTheRevertBeforeIt: a revision that was taken back, brought again and tried again on purpose.
func TestG17_ARetryNamesTheRevertBeforeIt(t *testing.T) {
	w := newWorld(t)
	w.fail()
	r, _ := w.reconcile()
	first := r.Status.Revert.ID
	w.git.Commit("fleet", "main", "once more", map[string]string{file: manifest("checkout:2")})
	due := r.Status.Revert
	r.Status.Revert = &v1alpha1.RevertStatus{Attempt: 4, State: v1alpha1.RevertPending, Bad: due.Bad, Good: due.Good, RequestedAt: due.RequestedAt}
	r.Status.History = append([]v1alpha1.AttemptRecord{{
		Number: 4, Revision: due.Bad, Outcome: v1alpha1.OutcomeRolledBack, Reason: "AnalysisFailed", Message: "again", StartedAt: due.RequestedAt, EndedAt: due.RequestedAt,
	}}, r.Status.History...)
	w.status(r)
	r, _ = w.reconcile()
	expect(t, r, v1alpha1.RevertPushed, metav1.ConditionTrue)
	if diff := cmp.Diff([]string{first}, w.trailers()[revert.TrailerRetry]); diff != "" || r.Status.Revert.ID == first {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.git.File("fleet", "main", file) != manifest("checkout:1") || w.reverts() != 2 {
		t.Errorf("commits %q", w.subjects())
	}
}
