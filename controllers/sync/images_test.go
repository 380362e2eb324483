package sync

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/render"
)

// environments are staging and prod, as they have run commits: each commit is the workloads of both.
type environments struct {
	*testing.T
	r             *Reconciler
	repo          *v1alpha1.Repository
	staging, prod *v1alpha1.Sync
	now           time.Time
}

func newEnvironments(t *testing.T) *environments {
	e := &environments{T: t, r: &Reconciler{}, repo: &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{UID: types.UID("u")}},
		now: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)}
	sync := func(name string) *v1alpha1.Sync {
		return &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.SyncSpec{Path: name}}
	}
	e.staging, e.prod = sync("staging"), sync("prod")
	e.prod.Spec.Gates.Follows = &v1alpha1.FollowsGate{Sync: "staging"}
	return e
}

// bundle makes a commit declare workloads ("Rollout/web=app:1 Deployment/job=app:2") in an environment, and returns the digest.
func (e *environments) bundle(of *v1alpha1.Sync, commit, workloads string) string {
	e.Helper()
	var objects []render.Object
	for text := range strings.FieldsSeq(workloads) {
		what, image, _ := strings.Cut(text, "=")
		kind, name, _ := strings.Cut(what, "/")
		version := map[string]string{"Rollout": "belay.dev/v1alpha1", "Deployment": "apps/v1"}[kind]
		objects = append(objects, render.Object{Unstructured: object(e.T, fmt.Sprintf(
			"{apiVersion: %s, kind: %s, metadata: {name: %s, namespace: %s}, spec: {template: {spec: {containers: [{name: c, image: %q}]}}}}", version, kind, name, of.Name, image))})
	}
	e.r.bundles.put(bundleKey(of, e.repo, commit), objects)
	return render.Digest(objects)
}

// ran is a commit that an environment has applied; healthy says for how long it was.
func (e *environments) ran(who *v1alpha1.Sync, commit, workloads string, healthy time.Duration) {
	e.Helper()
	e.now = e.now.Add(time.Hour)
	for i := range who.Status.History {
		if h := &who.Status.History[i]; h.HealthySince != nil && h.HealthyUntil == nil {
			h.HealthyUntil = &metav1.Time{Time: e.now}
		}
	}
	record := v1alpha1.SyncRecord{Commit: commit, Digest: e.bundle(who, commit, workloads), Reason: ReasonApplied}
	if healthy > 0 {
		record.HealthySince = &metav1.Time{Time: e.now}
	}
	e.now = e.now.Add(healthy)
	who.Status.History = append([]v1alpha1.SyncRecord{record}, who.Status.History...)
	who.Status.AppliedCommit, who.Status.AppliedDigest = record.Commit, record.Digest
}

// next is the commit that prod would take, and what keeps it from the head.
func (e *environments) next() string {
	e.Helper()
	l := lead{sync: e.prod, other: e.staging, repo: e.repo, soak: 10 * time.Minute, now: e.now,
		contains: func(_ context.Context, commit, ancestor string) (bool, error) {
			return slices.Index(order, ancestor) <= slices.Index(order, commit), nil
		}}
	for _, record := range e.staging.Status.History {
		if l.soaked(record) {
			l.proven = append(l.proven, record)
		}
	}
	commit, why, err := e.r.fittest(e.Context(), l)
	if err != nil {
		e.Fatal(err)
	}
	if commit != "" {
		return commit
	}
	return strings.TrimPrefix(why, "gates.follows: ")
}

var order = []string{"c1", "c2", "c3", "revert"}

const half = 30 * time.Minute

// TestG22_OnlyImagesThatRanElsewhereAreTaken: what the environments declare may differ, and a commit that is well in one may bring
// the other an image that was never well anywhere.
func TestG22_OnlyImagesThatRanElsewhereAreTaken(t *testing.T) {
	for name, test := range map[string]struct {
		play func(e *environments)
		want string
	}{
		"one image in a base": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.bundle(e.prod, "c2", "Rollout/web=app:2")
		}, "c2"},
		"prod is raised after staging": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.staging.Status.History[0].Commit = "c3" // the same bundle
			e.bundle(e.staging, "c3", "Rollout/web=app:2")
			e.bundle(e.prod, "c3", "Rollout/web=app:2")
		}, "c3"},
		"prod is raised to what staging has left behind": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.ran(e.staging, "c3", "Rollout/web=app:3", half)
			e.bundle(e.prod, "c3", "Rollout/web=app:2")
			e.bundle(e.prod, "c2", "Rollout/web=app:1")
		}, "c3"},
		"staging was taken back, prod still names the bad one": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", 0)
			e.ran(e.staging, "revert", "Rollout/web=app:1", half)
			e.bundle(e.prod, "revert", "Rollout/web=app:2")
		}, `commit revert brings image "app:2" of Rollout.belay.dev web, which Sync "staging" has not run Healthy for 10m0s`},
		"staging ran it, but not for long enough": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", time.Minute)
			e.staging.Status.History[0].HealthyUntil = e.staging.Status.History[0].HealthySince
			e.ran(e.staging, "c3", "Rollout/web=app:1", half)
			e.bundle(e.prod, "c3", "Rollout/web=app:2")
		}, `commit c3 brings image "app:2" of Rollout.belay.dev web, which Sync "staging" has not run Healthy for 10m0s`},
		"another workload ran it": {func(e *environments) {
			e.ran(e.staging, "revert", "Rollout/web=app:1 Deployment/worker=app:2", half)
			e.bundle(e.prod, "revert", "Rollout/web=app:2 Deployment/worker=app:2")
		}, `commit revert brings image "app:2" of Rollout.belay.dev web, which Sync "staging" has not run Healthy for 10m0s`},
		"names differ by a prefix": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/staging-web=app:2", half)
			e.bundle(e.prod, "c2", "Rollout/prod-web=app:2")
		}, "c2"},
		"names differ by a prefix, and nothing ran it": {func(e *environments) {
			e.ran(e.staging, "revert", "Rollout/staging-web=app:1", half)
			e.bundle(e.prod, "revert", "Rollout/prod-web=app:2")
		}, `commit revert brings image "app:2" of Rollout.belay.dev prod-web, which Sync "staging" has not run Healthy for 10m0s`},
		"something that staging has not": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.bundle(e.prod, "c2", "Rollout/web=app:2 Deployment/backup=restic:5")
		}, "c2"},
		"an older commit is fit": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:1 Deployment/job=job:2", half)
			e.bundle(e.prod, "c2", "Rollout/web=app:1 Deployment/job=job:2")
			e.ran(e.staging, "revert", "Rollout/web=app:1 Deployment/job=job:3", half)
			e.bundle(e.prod, "revert", "Rollout/web=app:2 Deployment/job=job:3")
		}, "c2"},
		"taken back here, to what ran here": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.ran(e.prod, "c2", "Rollout/web=app:2", 0)
			e.staging.Status.History[0].Commit = "revert" // the same bundle
			e.staging.Status.History = e.staging.Status.History[:1]
			e.bundle(e.staging, "revert", "Rollout/web=app:2")
			e.bundle(e.prod, "revert", "Rollout/web=app:1")
		}, "revert"},
		"what is declared already needs no proof": {func(e *environments) {
			e.ran(e.prod, "c1", "Rollout/web=hotfix:9", 0)
			e.ran(e.staging, "c2", "Rollout/web=app:1", half)
			e.bundle(e.prod, "c2", "Rollout/web=hotfix:9 Deployment/job=job:1")
		}, "c2"},
		"any image": {func(e *environments) {
			e.prod.Spec.Gates.Follows.Images = v1alpha1.ImagesAny
			e.ran(e.staging, "c2", "Rollout/web=app:1", half)
			e.bundle(e.prod, "c2", "Rollout/web=app:2")
		}, "c2"},
		"staging's path has changed": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.bundle(e.staging, "c2", "Rollout/other=app:7")
			e.bundle(e.prod, "c2", "Rollout/web=app:2")
		}, `what Sync "staging" ran of commit c2 cannot be told any more: its path has changed, or the commit is gone`},
		"what is applied is newer than anything proven": {func(e *environments) {
			e.ran(e.prod, "c3", "Rollout/web=app:1", half)
			e.ran(e.staging, "c2", "Rollout/web=app:1 Deployment/job=job:2", half)
			e.bundle(e.prod, "c2", "Rollout/web=app:1")
		}, `Sync "staging" is at commit c2, and at nothing newer yet`},
		"staging does worse than before": {func(e *environments) {
			e.ran(e.staging, "c2", "Rollout/web=app:2", half)
			e.ran(e.prod, "c2", "Rollout/web=app:2", half)
			e.staging.Status.History[0].HealthySince = nil
		}, `commit c2 is not Healthy in Sync "staging"`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironments(t)
			e.ran(e.staging, "c1", "Rollout/web=app:1 Deployment/job=job:1", half)
			e.ran(e.prod, "c1", "Rollout/web=app:1 Deployment/job=job:1", half)
			test.play(e)
			if diff := cmp.Diff(test.want, e.next()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestG22_ARevertInStagingOpensNothingForProd: the commit is well in staging, and brings prod an image that never was.
func TestG22_ARevertInStagingOpensNothingForProd(t *testing.T) {
	w := newWorld(t)
	cron := func(name, image string) string {
		return fmt.Sprintf("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: %s}\nspec: {suspend: true, schedule: '@daily', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: %q}]}}}}}\n", name, image)
	}
	both := func(staging, prod string) map[string]string {
		return map[string]string{"apps/a.yaml": cron("prod-job", prod), "staging/s.yaml": cron("staging-job", staging)}
	}
	w.start(v1alpha1.PruneEnabled, both("job:1", "job:1"), "cronjobs.batch")
	staging := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "staging"}}
	staging.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "staging", ServiceAccountName: "deployer"}
	w.create(staging)
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Gates.Follows = &v1alpha1.FollowsGate{Sync: "staging", Soak: "30m"} })
	image := func() string {
		var job batchv1.CronJob
		w.get("prod-job", &job)
		return job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image
	}
	round := func(soak time.Duration) *v1alpha1.Sync {
		t.Helper()
		w.reconcileOf("staging")
		w.now = w.now.Add(soak)
		w.reconcileOf("staging")
		return w.reconcile()
	}
	first := w.git.Head("fleet", "main")
	expect(t, round(31*time.Minute), "True/Applied", first)
	w.commit(both("job:2", "job:2"))
	round(time.Minute) // it is taken back before it has soaked
	reverted := w.commit(both("job:1", "job:2"))
	s := round(31 * time.Minute)
	expect(t, s, "True/Applied", first)
	want := fmt.Sprintf(`gates.follows: commit %s brings image "job:2" of CronJob.batch prod-job, which Sync "staging" has not run Healthy for 30m0s`, short(reverted))
	if diff := cmp.Diff(want, s.Status.BlockedBy); diff != "" || image() != "job:1" {
		t.Errorf("prod runs %s; blocked by (-want +got):\n%s", image(), diff)
	}
	third := w.commit(both("job:3", "job:3"))
	s = round(time.Minute)
	if expect(t, s, "True/Applied", first); image() != "job:1" || !strings.Contains(s.Status.BlockedBy, "soaks in Sync") {
		t.Errorf("prod runs %s; blocked by %q", image(), s.Status.BlockedBy)
	}
	s = round(31 * time.Minute)
	if expect(t, s, "True/Applied", third); image() != "job:3" || s.Status.BlockedBy != "" {
		t.Errorf("prod runs %s; blocked by %q", image(), s.Status.BlockedBy)
	}
	// What this Sync has run itself needs no further proof: a revert of its own is not held up.
	back := w.commit(both("job:3", "job:1"))
	if expect(t, round(0), "True/Applied", back); image() != "job:1" {
		t.Errorf("prod runs %s", image())
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Gates.Follows.Images = v1alpha1.ImagesAny })
	untried := w.commit(both("job:3", "job:9"))
	if expect(t, round(0), "True/Applied", untried); image() != "job:9" {
		t.Errorf("prod runs %s", image())
	}
}
