package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/sync"
	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/internal/testenv"
)

// TestG08_DriftCommands shows a drift, turns it into a commit, and puts an overwritten value back.
func TestG08_DriftCommands(t *testing.T) {
	h := &harness{T: t, env: testenv.New(t)}
	server := gittest.New(t)
	server.Create("fleet")
	server.Commit("fleet", "main", "one", map[string]string{"apps/a.yaml": "# kept\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  key: \"1\" # why\n  more: x\n"})
	create := func(o client.Object) {
		t.Helper()
		o.SetNamespace(h.env.Namespace)
		if err := h.env.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	h.want(h.run("drift"), 0, "Nothing is known to differ from Git.")

	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Name: "fleet"}}
	repo.Spec.URL, repo.Spec.Ref.Branch = server.URL("fleet"), "main"
	repo.Spec.Write = &v1alpha1.RepositoryWrite{Strategy: v1alpha1.StrategyPush, Author: v1alpha1.GitAuthor{Name: "Belay", Email: "belay@example.com"}}
	create(repo)
	live := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"key": "2", "more": "x"}}
	create(live)
	s := &v1alpha1.Sync{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	s.Spec = v1alpha1.SyncSpec{Repository: "fleet", Path: "apps", ServiceAccountName: "deployer", Drift: v1alpha1.SyncDrift{Mode: v1alpha1.DriftDetect}}
	create(s)
	now := metav1.NewTime(time.Now().Add(-time.Minute))
	s.Status.Drift = &v1alpha1.SyncDriftStatus{Drifted: 1, Objects: []v1alpha1.DriftedObject{{Kind: "ConfigMap", Namespace: h.env.Namespace, Name: "a",
		State: v1alpha1.DriftOpen, Class: "ManualEdit", Digest: "d1", DeclaredDigest: "d0", FirstSeen: now, LastSeen: now, File: "apps/a.yaml",
		Fields: []v1alpha1.DriftedField{{Path: ".data.key", Declared: "1", Live: "2", DeclaredBy: &v1alpha1.DriftDeclaration{File: "apps/a.yaml", Line: 6, Commit: "0123456789abcdef", Author: "Ann <ann@example.com>"}}},
		Writer: &v1alpha1.DriftWriter{Manager: "kubectl-edit", User: "jane", Certainty: "Owner"}, Remedy: v1alpha1.DriftRemedy{Action: "Reapply", Risk: "Low", Reason: "x"}}}}
	if err := h.env.Client.Status().Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}

	h.want(h.run("drift"), 2, "shop", "ConfigMap/a", "Open", "ManualEdit", ".data.key", "kubectl-edit jane", "apps/a.yaml:6 0123456789 Ann <ann@example.com>", "Reapply (Low)")
	r := h.run("drift", "shop", "-o", "json")
	var list struct {
		Items []struct{ Object v1alpha1.DriftedObject }
	}
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list.Items) != 1 || list.Items[0].Object.Namespace != h.env.Namespace {
		t.Errorf("-o json: %v\n%s", err, r.out)
	}
	h.want(h.run("drift", "other"), 1, `there is no Sync "other"`)
	h.want(h.run("drift", "accept", "ConfigMap/b"), 1, "ConfigMap/b")
	h.want(h.run("drift", "accept", "configmap/a", "--print"), 0, "key: \"2\" # why", "# kept")
	before := server.Head("fleet", "main")
	h.want(h.run("drift", "accept", "configmap/a", "--reason", "load"), 0, "is on branch main")
	if server.Head("fleet", "main") == before {
		t.Error("no commit was pushed")
	}
	text := server.Git("fleet", "show", "main")
	for _, want := range []string{"drift(shop): accept ConfigMap/a as it is live", "Accepted-By: ", "Drift-Digest: d1", "-  key: \"1\" # why", "+  key: \"2\" # why", "load"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the commit:\n%s", want, text)
		}
	}
	h.want(h.run("drift", "accept", "configmap/a"), 1, "Git declares what is live by now")

	record, err := json.Marshal(sync.Record{Version: 1, Sync: "shop", APIVersion: "v1", Kind: "ConfigMap", Namespace: h.env.Namespace, Name: "a", UID: string(live.UID),
		Fields: []sync.RecordedField{{Path: ".data.key", Elements: []string{"f:data", "f:key"}, Live: "old"}, {Path: ".data.more", Elements: []string{"f:data", "f:more"}, Absent: true}}})
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(record); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: sync.RecordsName}, Data: map[string][]byte{"r1": zipped.Bytes()}})
	h.want(h.run("drift", "restore", "r2"), 1, `there is no record "r2"`)
	h.want(h.run("drift", "restore", "r1"), 0, "2 fields")
	if err := h.env.Client.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil || live.Data["key"] != "old" || len(live.Data) != 1 {
		t.Errorf("restored to %v: %v", live.Data, err)
	}
	s.Spec.Drift.Mode = v1alpha1.DriftCorrect
	if err := h.env.Client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	h.want(h.run("drift", "restore", "r1"), 1, "--force")
}
