package sync

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

func TestAppliesThenRests(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	s := w.reconcile()
	expect(t, s, "True/Applied", s.Status.AppliedCommit)
	if diff := cmp.Diff([]string{"ConfigMap a", "ConfigMap b"}, inventory(s)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"PATCH a", "PATCH b"}, w.seen.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	var cm corev1.ConfigMap
	w.get("a", &cm)
	if cm.Labels[v1alpha1.LabelSync] != "shop" || cm.Data["key"] != "1" {
		t.Errorf("ConfigMap a: labels %v, data %v", cm.Labels, cm.Data)
	}
	if s.Status.AppliedAt == nil || s.Status.AttemptedCommit != s.Status.AppliedCommit || len(s.Finalizers) != 1 {
		t.Errorf("status %+v, finalizers %v", s.Status, s.Finalizers)
	}

	// Nothing asked for, nothing asked of the API server.
	before := w.statusWrites
	w.now = w.now.Add(9 * time.Minute)
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 || w.statusWrites != before {
		t.Errorf("at rest: requests %v, %d status writes", got, w.statusWrites-before)
	}
	// The interval is over: looked at, not written.
	w.now = w.now.Add(2 * time.Minute)
	w.reconcile()
	if diff := cmp.Diff([]string{"GET a", "dry PATCH a", "GET b", "dry PATCH b"}, w.seen.take()); diff != "" || w.statusWrites != before {
		t.Errorf("drift check: %d status writes, requests (-want +got):\n%s", w.statusWrites-before, diff)
	}
	// A commit elsewhere in the repository: noted, no object asked for.
	sha := w.commit(map[string]string{"docs/x.md": "hello"})
	if s = w.reconcile(); s.Status.AppliedCommit != sha || len(w.seen.take()) != 0 {
		t.Errorf("applied commit %q, want %q, without a request", s.Status.AppliedCommit, sha)
	}
	if diff := cmp.Diff([]string{"Normal Applied"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatDiffersIsWrittenAndDriftIsUndone(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	w.reconcile()
	w.seen.take()
	w.commit(map[string]string{"apps/b.yaml": configMap("b", "2")})
	w.reconcile()
	if diff := cmp.Diff([]string{"PATCH b"}, w.seen.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	var cm corev1.ConfigMap
	w.get("a", &cm)
	cm.Data["key"] = "by hand"
	if err := w.env.Client.Update(t.Context(), &cm); err != nil {
		t.Fatal(err)
	}
	w.edit(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "1"} })
	if s := w.reconcile(); s.Status.Reconciled != "1" || value(w, "a") != "1" {
		t.Errorf("reconciled %q, a = %q", s.Status.Reconciled, value(w, "a"))
	}
}

func TestFieldThatLeavesGitGoesThoughOthersHadSetTheSame(t *testing.T) {
	w := newWorld(t)
	with := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {key: \"1\", extra: x}\n"
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	var cm corev1.ConfigMap
	w.get("a", &cm)
	cm.Data["extra"] = "x"
	if err := w.env.Client.Update(t.Context(), &cm, client.FieldOwner("someone")); err != nil {
		t.Fatal(err)
	}
	w.seen.take()
	w.commit(map[string]string{"apps/a.yaml": with})
	w.reconcile()
	if got := w.seen.writes(); len(got) != 1 {
		t.Errorf("writes %v: taking over a field with the value it has is a change of ownership", got)
	}
}

func TestPrune(t *testing.T) {
	keep := strings.Replace(configMap("keep", "1"), "{name: keep}", "{name: keep, annotations: {belay.dev/prune: Disabled}}", 1)
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/a.yaml": configMap("a", "1"), "apps/gone.yaml": configMap("gone", "1"),
		"apps/keep.yaml": keep, "apps/moved.yaml": configMap("moved", "1"),
	}, "configmaps")
	w.reconcile()
	var moved corev1.ConfigMap
	w.get("moved", &moved)
	moved.Labels[v1alpha1.LabelSync] = "another"
	if err := w.env.Client.Update(t.Context(), &moved); err != nil {
		t.Fatal(err)
	}
	w.seen.take()
	w.commit(map[string]string{"apps/gone.yaml": "", "apps/keep.yaml": "", "apps/moved.yaml": ""})
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if diff := cmp.Diff([]string{"DELETE gone"}, w.seen.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	for _, name := range []string{"a", "keep", "moved"} {
		if !w.exists(name, &corev1.ConfigMap{}) {
			t.Errorf("ConfigMap %s was removed", name)
		}
	}
	if diff := cmp.Diff([]string{"ConfigMap a"}, inventory(s)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

func TestPruneDisabledKeepsAndRemembers(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	w.reconcile()
	w.commit(map[string]string{"apps/b.yaml": ""})
	s := w.reconcile()
	if !w.exists("b", &corev1.ConfigMap{}) || len(s.Status.Inventory) != 2 {
		t.Errorf("b exists: %v, inventory %v", w.exists("b", &corev1.ConfigMap{}), inventory(s))
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Prune = v1alpha1.PruneEnabled })
	if s = w.reconcile(); w.exists("b", &corev1.ConfigMap{}) || len(s.Status.Inventory) != 1 {
		t.Errorf("b still exists, or inventory %v", inventory(s))
	}
}

func TestNothingIsEverTakenForAWishToHaveNothing(t *testing.T) {
	for name, test := range map[string]struct {
		files  map[string]string
		reason string
	}{
		"folder gone":  {map[string]string{"apps/a.yaml": ""}, "False/PathNotFound"},
		"folder empty": {map[string]string{"apps/a.yaml": "", "apps/README.md": "none"}, "False/EmptyBundle"},
		"broken":       {map[string]string{"apps/a.yaml": "a: [\n"}, "False/RenderFailed"},
		"half broken":  {map[string]string{"apps/a.yaml": "", "apps/b.yaml": configMap("b", "1"), "apps/c.yaml": "kind: X\n"}, "False/RenderFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "keep": "x"}, "configmaps")
			w.reconcile()
			w.seen.take()
			w.commit(test.files)
			s := w.reconcile()
			expect(t, s, test.reason)
			if got := w.seen.take(); len(got) != 0 || !w.exists("a", &corev1.ConfigMap{}) || len(s.Status.Inventory) != 1 {
				t.Errorf("requests %v, inventory %v", got, inventory(s))
			}
		})
	}
}

func TestOneDenialChangesNothing(t *testing.T) {
	w := newWorld(t)
	bad := "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999999}]}\n"
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/bad.yaml": bad}, "configmaps", "services")
	s := w.reconcile()
	expect(t, s, "False/Denied", "nothing was changed", "Service "+w.env.Namespace+"/web (apps/bad.yaml)", "must be between 1 and 65535")
	if got := w.seen.writes(); len(got) != 0 || w.exists("a", &corev1.ConfigMap{}) || len(s.Status.Inventory) != 0 {
		t.Errorf("writes %v, inventory %v", got, inventory(s))
	}
	w.reconcile()
	if diff := cmp.Diff([]string{"Warning Denied"}, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.commit(map[string]string{"apps/bad.yaml": strings.Replace(bad, "99999999", "80", 1)})
	expect(t, w.reconcile(), "True/Applied")
}

func TestUnknownFieldsAndKindsAreDenied(t *testing.T) {
	for name, test := range map[string]struct{ file, says string }{
		"field": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {}\n", "datum"},
		"kind":  {"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n", "Widget.example.com is known neither"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": test.file}, "configmaps")
			expect(t, w.reconcile(), "False/Denied", test.says)
		})
	}
}

func TestRightsAreThoseOfTheAccount(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")})
	account := "system:serviceaccount:" + w.env.Namespace + ":deployer"
	expect(t, w.reconcile(), "False/Denied", account, "cannot get resource")
	w.grant("deployer", []string{"get"}, "configmaps")
	expect(t, w.reconcile(), "False/Denied", account, "cannot patch resource")
	w.grant("deployer", []string{"patch", "create"}, "configmaps")
	expect(t, w.reconcile(), "True/Applied")
}

func TestForeignNamespaceIsDeniedByRights(t *testing.T) {
	w := newWorld(t)
	foreign := strings.Replace(configMap("a", "1"), "{name: a}", "{name: a, namespace: kube-system}", 1)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": foreign}, "configmaps")
	expect(t, w.reconcile(), "False/Denied", `in the namespace "kube-system"`)
}

func TestInventoryIsWrittenBeforeAnythingIsApplied(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.failStatus = 1
	if _, err := w.try(); err != nil { // the failure is reported by the next status write
		t.Fatal(err)
	}
	if w.exists("a", &corev1.ConfigMap{}) {
		t.Fatal("applied although the inventory could not be written")
	}
	// A crash between apply and the final report: the process ends at its next status write.
	w.statusWrites, w.failStatus = 0, 2
	if _, err := w.try(); err == nil {
		t.Fatal("the failed status write went unnoticed")
	}
	var s v1alpha1.Sync
	w.get("shop", &s)
	if !w.exists("a", &corev1.ConfigMap{}) || len(s.Status.Inventory) != 1 || s.Status.AppliedCommit != "" {
		t.Fatalf("inventory %v, applied %q", inventory(&s), s.Status.AppliedCommit)
	}
	// Git drops the object before the next process starts: it is still known, and pruned.
	w.failStatus = 0
	w.commit(map[string]string{"apps/a.yaml": "", "apps/b.yaml": configMap("b", "1")})
	expect(t, w.reconcile(), "True/Applied")
	if w.exists("a", &corev1.ConfigMap{}) {
		t.Error("an object was forgotten")
	}
}

func TestAFailureHoldsUpNothingElseAndIsReported(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{
		"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1"), "apps/c.yaml": configMap("c", "1"),
	}, "configmaps")
	w.seen.before = func(r *http.Request) { // someone takes the right away between the dry run and the apply of b
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/b") && r.URL.Query().Get("dryRun") == "" {
			r.Header.Set("Impersonate-User", "nobody")
		}
	}
	s := w.reconcile()
	expect(t, s, "False/ApplyFailed", "applying ConfigMap "+w.env.Namespace+"/b", "nobody")
	if diff := cmp.Diff([]string{"PATCH a", "PATCH b", "PATCH c"}, w.seen.writes()); diff != "" || len(s.Status.Inventory) != 3 {
		t.Errorf("inventory %v, writes (-want +got):\n%s", inventory(s), diff)
	}
	w.seen.before = nil
	expect(t, w.reconcile(), "True/Applied")
	if diff := cmp.Diff([]string{"PATCH b"}, w.seen.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestMissingRepositoryIsNamed(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Repository = "nowhere" })
	expect(t, w.reconcile(), "False/RepositoryNotFound", `"nowhere"`)
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Repository = "fleet" })
	expect(t, w.reconcile(), "True/Applied")
}

func TestSuspend(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Suspend = true })
	expect(t, w.reconcile(), "Unknown/Suspended")
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("requests while suspended: %v", got)
	}
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Suspend = false })
	expect(t, w.reconcile(), "True/Applied")
}

func TestDeletionPrunesAllEvenWithoutRepository(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	s := w.reconcile()
	var repo v1alpha1.Repository
	w.get("fleet", &repo)
	for _, o := range []client.Object{&repo, s} {
		if err := w.env.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.try(); err != nil {
		t.Fatal(err)
	}
	if w.exists("a", &corev1.ConfigMap{}) || w.exists("b", &corev1.ConfigMap{}) || w.exists("shop", &v1alpha1.Sync{}) {
		t.Error("something is left")
	}
}

func TestDeletionWithoutRightsWaitsAndSaysHowToGoOn(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	w.edit(func(s *v1alpha1.Sync) { s.Spec.ServiceAccountName = "nobody" })
	var s v1alpha1.Sync
	w.get("shop", &s)
	if err := w.env.Client.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	expect(t, w.reconcile(), "False/PruneFailed", "nobody", "set spec.prune to Disabled")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Prune = v1alpha1.PruneDisabled })
	if _, err := w.try(); err != nil {
		t.Fatal(err)
	}
	if err := w.env.Client.Get(t.Context(), w.key("shop"), &s); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the Sync is still there: %v", err)
	}
	if !w.exists("a", &corev1.ConfigMap{}) {
		t.Error("pruned although prune is Disabled")
	}
}

func TestReplicasThatGitDoesNotMentionAreOthers(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/d.yaml": deployment("1")}, "deployments.apps")
	w.reconcile()
	var d appsv1.Deployment
	w.get("web", &d)
	five := int32(5)
	base := d.DeepCopy()
	d.Spec.Replicas = &five
	if err := w.env.Client.Patch(t.Context(), &d, client.MergeFrom(base), client.FieldOwner("hpa")); err != nil {
		t.Fatal(err)
	}
	w.commit(map[string]string{"apps/d.yaml": deployment("2")})
	expect(t, w.reconcile(), "True/Applied")
	w.get("web", &d)
	if *d.Spec.Replicas != 5 || d.Spec.Template.Spec.Containers[0].Image != "web:2" {
		t.Errorf("replicas %d, image %s, want 5 and web:2", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
	}
}

func deployment(version string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:` + version + `"}]}
`
}

const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  hostnames: [HOST]
  rules:
  - backendRefs: [{name: web, port: 80}]
`

const service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {v: VAR}}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"

// split writes a Rollout's split of the traffic on the route, as the Rollout controller does.
func (w *world) split(canary int32) {
	w.Helper()
	live := w.route()
	patch, err := gatewayapi.Patch(live, gatewayapi.Split{
		Namespace: w.env.Namespace, StableService: "web", CanaryService: "web-canary",
		Total: 100, Canary: canary, Present: true, Owner: w.env.Namespace + "/web",
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.env.Client.Patch(w.Context(), live, client.RawPatch("application/json-patch+json", patch)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) route() *unstructured.Unstructured {
	w.Helper()
	live := &unstructured.Unstructured{}
	live.SetAPIVersion("gateway.networking.k8s.io/v1")
	live.SetKind("HTTPRoute")
	w.get("web", live)
	return live
}

func weights(route *unstructured.Unstructured) map[string]any {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	refs, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "backendRefs")
	out := map[string]any{}
	for _, r := range refs {
		ref := r.(map[string]any)
		out[ref["name"].(string)] = ref["weight"]
	}
	return out
}

func TestApplyMidRolloutKeepsTheTraffic(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{
		"apps/r.yaml": strings.Replace(route, "HOST", "one.example", 1), "apps/s.yaml": strings.Replace(service, "VAR", "one", 1),
	}, "httproutes.gateway.networking.k8s.io", "services")
	expect(t, w.reconcile(), "True/Applied")
	w.split(20)
	var svc corev1.Service
	w.get("web", &svc)
	svc.Spec.Selector[v1alpha1.LabelRole] = "stable"
	svc.Annotations = map[string]string{gatewayapi.SelectorAnnotation: w.env.Namespace + "/web"}
	if err := w.env.Client.Update(t.Context(), &svc); err != nil {
		t.Fatal(err)
	}
	w.seen.take()

	// A look at the cluster mid-rollout is no reason to write more than ownership, once.
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	w.seen.take()
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	if got := w.seen.writes(); len(got) != 0 {
		t.Errorf("writes mid-rollout without a change in Git: %v", got)
	}
	w.commit(map[string]string{
		"apps/r.yaml": strings.Replace(route, "HOST", "two.example", 1), "apps/s.yaml": strings.Replace(service, "VAR", "two", 1),
	})
	expect(t, w.reconcile(), "True/Applied")
	live := w.route()
	if diff := cmp.Diff(map[string]any{"web": int64(80), "web-canary": int64(20)}, weights(live)); diff != "" {
		t.Errorf("weights (-want +got):\n%s", diff)
	}
	hosts, _, _ := unstructured.NestedStringSlice(live.Object, "spec", "hostnames")
	w.get("web", &svc)
	if hosts[0] != "two.example" || svc.Labels["v"] != "two" || svc.Spec.Selector[v1alpha1.LabelRole] != "stable" {
		t.Errorf("hosts %v, labels %v, selector %v", hosts, svc.Labels, svc.Spec.Selector)
	}
}

func TestApplyNeverBringsAWeightBack(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/r.yaml": strings.Replace(route, "HOST", "one.example", 1)},
		"httproutes.gateway.networking.k8s.io")
	w.reconcile()
	w.split(20)
	w.commit(map[string]string{"apps/r.yaml": strings.Replace(route, "HOST", "two.example", 1)})
	aborted := false
	w.seen.before = func(r *http.Request) { // an abort lands between the Sync's read and its write
		if r.Method == http.MethodPatch && r.URL.Query().Get("dryRun") == "" && !aborted {
			aborted = true
			w.split(0)
		}
	}
	if result, err := w.try(); err != nil || result.RequeueAfter != conflictRetry {
		t.Fatalf("result %v, %v", result, err)
	}
	if got := weights(w.route())["web-canary"]; got != int64(0) || !aborted {
		t.Fatalf("canary weight %v after an abort", got)
	}
	expect(t, w.reconcile(), "True/Applied")
	if got := weights(w.route())["web-canary"]; got != int64(0) {
		t.Errorf("canary weight %v after an abort", got)
	}
}

func TestRolloutSaysWhichCommitChangedIt(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/r.yaml": strings.Replace(rollout, "VAR", "1", 1)}, "rollouts.belay.dev")
	expect(t, w.reconcile(), "True/Applied")
	first := w.git.Head("fleet", "main")
	if got := w.commitOf("web"); got != first {
		t.Fatalf("commit %q, want %q", got, first)
	}
	w.seen.take()
	w.commit(map[string]string{"apps/comment.yaml": "# nothing\n", "other": "x"})
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	if got := w.seen.writes(); len(got) != 0 || w.commitOf("web") != first {
		t.Errorf("an unrelated commit wrote %v, annotation %q", got, w.commitOf("web"))
	}
	third := w.commit(map[string]string{"apps/r.yaml": strings.Replace(rollout, "VAR", "2", 1)})
	w.reconcile()
	if got := w.commitOf("web"); got != third {
		t.Errorf("commit %q, want %q", got, third)
	}
}

// TestRolloutSaysWhoWroteIt: everybody since the stable revision, not what Git claims, and only where it is asked for.
func TestRolloutSaysWhoWroteIt(t *testing.T) {
	w := newWorld(t)
	text := func(version, claim string) map[string]string {
		out := strings.Replace(rollout, "VAR", version, 1)
		out = strings.Replace(out, "metadata: {name: web}", "metadata: {name: web, annotations: {belay.dev/authors: "+claim+"}}", 1)
		return map[string]string{"apps/r.yaml": strings.Replace(out, "spec:\n", "spec:\n  approvals: {notTheAuthor: Enabled}\n", 1)}
	}
	authors := func() string {
		var r v1alpha1.Rollout
		w.get("web", &r)
		return r.Annotations[v1alpha1.AnnotationAuthors]
	}
	w.start(v1alpha1.PruneDisabled, text("1", "nobody@example.com"), "rollouts.belay.dev")
	expect(t, w.reconcile(), "True/Applied")
	if got := authors(); got != "unknown" {
		t.Errorf("at first: %q", got)
	}
	var r v1alpha1.Rollout
	w.get("web", &r)
	r.Status.Stable = &v1alpha1.RevisionRecord{Revision: "x", Commit: w.git.Head("fleet", "main"), Since: metav1.Now()}
	if err := w.env.Client.Status().Update(w.Context(), &r); err != nil {
		t.Fatal(err)
	}
	w.commit(text("2", "nobody@example.com"))
	expect(t, w.reconcile(), "True/Applied")
	want := authors()
	if !strings.Contains(want, "@") || strings.Contains(want, "nobody") {
		t.Errorf("authors %q", want)
	}
	w.commit(text("3", "nobody@example.com")) // on top of one that is not proven
	w.reconcile()
	if got := authors(); got != want {
		t.Errorf("authors %q, want %q", got, want)
	}
}

func (w *world) commitOf(name string) string {
	w.Helper()
	var r v1alpha1.Rollout
	w.get(name, &r)
	return r.Annotations[v1alpha1.AnnotationCommit]
}

const rollout = `apiVersion: belay.dev/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:VAR"}]}
  traffic: {stableService: web, routes: [{kind: HTTPRoute, name: web}]}
  strategy: {canary: {steps: [{weight: 10}]}}
`
