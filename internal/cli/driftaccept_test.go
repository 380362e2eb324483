package cli

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/sync"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/internal/testenv"
)

// TestG08_AcceptTakesAllThatDiffers: status names some of the fields and counts the others; what is left out of the commit would be
// overwritten, since the commit declares the object anew.
func TestG08_AcceptTakesAllThatDiffers(t *testing.T) {
	h := &harness{T: t, env: testenv.New(t)}
	server := gittest.New(t)
	server.Create("fleet")
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  left: \"1\"\n  ours: \"1\"\n"
	for i := range 12 {
		text += fmt.Sprintf("  k%02d: \"1\" # why\n", i)
	}
	head := server.Commit("fleet", "main", "one", map[string]string{"apps/a.yaml": text})
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &applied.Object); err != nil {
		t.Fatal(err)
	}
	applied.SetNamespace(h.env.Namespace)
	if err := h.env.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(sync.FieldManager)); err != nil {
		t.Fatal(err)
	}
	live := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "a"}}
	if err := h.env.Client.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	for i := range 11 {
		live.Data[fmt.Sprintf("k%02d", i)] = "2"
	}
	delete(live.Data, "k11")
	live.Data["left"], live.Data["undeclared"] = "2", "x"
	if err := h.env.Client.Update(t.Context(), live, client.FieldOwner("kubectl-edit")); err != nil {
		t.Fatal(err)
	}
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = server.URL("fleet"), "main"
	repo.Spec.Write = &v1alpha1.RepositoryWrite{Strategy: v1alpha1.StrategyPush}
	s := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Namespace: h.env.Namespace, Name: "shop"}}
	s.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "deployer",
		Drift: v1alpha1.SyncDrift{Mode: v1alpha1.DriftDetect, Ignore: []v1alpha1.DriftIgnore{{Kind: "ConfigMap", Paths: []string{".data.left"}}}}}
	for _, o := range []client.Object{repo, s} {
		if err := h.env.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	report := func(more int32) {
		t.Helper()
		now := metav1.Now()
		s.Status.AppliedCommit = head
		s.Status.Drift = &v1alpha1.SyncDriftStatus{Drifted: 1, Objects: []v1alpha1.DriftedObject{{Kind: "ConfigMap", Namespace: h.env.Namespace, Name: "a",
			State: v1alpha1.DriftOpen, Class: "ManualEdit", Digest: "d1", DeclaredDigest: "d0", FirstSeen: now, LastSeen: now, File: "apps/a.yaml", MoreFields: more,
			Fields: []v1alpha1.DriftedField{{Path: ".data.k00", Declared: "1", Live: "2"}}, Remedy: v1alpha1.DriftRemedy{Action: "Reapply", Risk: "Low", Reason: "x"}}}}
		if err := h.env.Client.Status().Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	report(20)
	h.want(h.run("drift", "accept", "configmap/a"), 1, "differs in 21 fields, of which 12 can be found here", "nothing is accepted", "apps/a.yaml")
	if server.Head("fleet", "main") != head {
		t.Fatal("a part was accepted")
	}
	report(11)
	h.want(h.run("drift", "accept", "configmap/a"), 0, "is on branch main")
	got := server.Git("fleet", "show", "main:apps/a.yaml")
	want := strings.ReplaceAll(text, "\"1\" # why", "\"2\" # why")
	want = want[:strings.Index(want, "  k11")]
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if message := server.Git("fleet", "log", "-1", "--format=%B", "main"); strings.Count(message, "- .data.k") != 12 || !strings.Contains(message, "- .data.k11: (absent), was 1") {
		t.Errorf("message:\n%s", message)
	}
}
