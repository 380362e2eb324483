package sync

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
)

// watched gives a world the watches, and returns a function that waits until the Sync has something to look at.
func (w *world) watched() (suspected func()) {
	w.Helper()
	own, err := metadata.NewForConfig(w.env.Config)
	if err != nil {
		w.Fatal(err)
	}
	told := make(chan types.NamespacedName, 1000)
	w.r.Drift = &drift.Tracker{Metadata: own, As: metadataAs(w.env.Config), Mapper: w.env.Client.RESTMapper(), Manager: FieldManager,
		Tell: func(key types.NamespacedName) { told <- key }, Log: logr.Discard()}
	if w.clock != nil {
		clock := w.clock
		w.r.Drift.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.r.Drift.Start(ctx) }()
	w.Cleanup(func() { stop(); <-ended })
	return func() {
		w.Helper()
		limit, again := time.After(30*time.Second), make(<-chan time.Time)
		for {
			select {
			case <-told:
			case <-again: // it is hot, and waits
			case <-limit:
				w.Fatal("no change was noticed")
			}
			var s v1alpha1.Sync
			w.get("shop", &s)
			list, next := w.r.Drift.Suspects(s.UID)
			if len(list) > 0 {
				return
			}
			if next > 0 {
				again = time.After(next)
			}
		}
	}
}

// write changes a ConfigMap's key as another manager.
func (w *world) write(name, value, manager string) {
	w.Helper()
	cm := &corev1.ConfigMap{}
	w.get(name, cm)
	cm.Data["key"] = value
	if err := w.env.Client.Update(w.Context(), cm, client.FieldOwner(manager)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) driftMode(mode v1alpha1.DriftMode) {
	w.Helper()
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Drift.Mode = mode })
}

// TestG04_DriftIsCorrected: one look at one object, what was there is kept first, and at rest there is no request.
func TestG04_DriftIsCorrected(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "1")}, "configmaps")
	expect(t, w.reconcile(), "True/Applied")
	w.seen.take()
	w.told()
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("at rest: %v", got)
	}

	w.write("a", "2", "kubectl-edit")
	suspected()
	s := w.reconcile()
	expect(t, s, "True/Applied")
	if got := strings.Join(w.seen.take(), ", "); got != "GET a, dry PATCH a, PATCH a" {
		t.Errorf("requests as the tenant: %s", got)
	}
	if got := value(w, "a"); got != "1" {
		t.Errorf("a is %s", got)
	}
	if s.Status.Drift == nil || len(s.Status.Drift.Objects) != 1 || s.Status.Drift.Drifted != 0 {
		t.Fatalf("status.drift is %+v", s.Status.Drift)
	}
	o := s.Status.Drift.Objects[0]
	got := fmt.Sprintf("%s %s %s %s", o.Kind, o.Name, o.State, o.Class)
	for _, f := range o.Fields {
		got += fmt.Sprintf("; %s declared %s live %s", f.Path, f.Declared, f.Live)
	}
	got += fmt.Sprintf("; %s %s %s; %s %s; %s", o.Writer.Manager, o.Writer.Operation, o.Writer.Certainty, o.Remedy.Action, o.Remedy.Risk, o.File)
	if want := "ConfigMap a Corrected ManualEdit; .data.key declared 1 live 2; kubectl-edit Update Owner; Reapply Low; apps/a.yaml"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if told := w.told(); !slices.Contains(told, "Warning DriftCorrected") {
		t.Errorf("told %v", told)
	}
	w.recorded(o.Record, `"2"`)

	// The echo of our own write is nothing, and so is another event of the same state.
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("after the correction: %v", got)
	}
}

// recorded says that a record holds a value.
func (w *world) recorded(key, value string) {
	w.Helper()
	var secret corev1.Secret
	w.get(RecordsName, &secret)
	record, err := ReadRecord(secret.Data[key])
	if err != nil {
		w.Fatalf("record %q among %d: %v", key, len(secret.Data), err)
	}
	if got := fmt.Sprintf("%q", record.Fields[0].Live); len(record.Fields) != 1 || got != value {
		w.Errorf("record holds %+v, want %s", record.Fields, value)
	}
}

// TestG08_DetectOnly: where drift is left as it is, each further change is looked at, and the report follows.
func TestG08_DetectOnly(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.driftMode(v1alpha1.DriftDetect)
	w.reconcile()
	for _, value := range []string{"2", "3"} {
		w.write("a", value, "kubectl-edit")
		suspected()
		w.seen.take()
		s := w.reconcile()
		if writes := w.seen.writes(); len(writes) != 0 {
			t.Errorf("mode Detect writes %v", writes)
		}
		if s.Status.Drift == nil || s.Status.Drift.Drifted != 1 || s.Status.Drift.Objects[0].Fields[0].Live != value {
			t.Fatalf("status.drift is %+v, want live value %s", s.Status.Drift, value)
		}
		c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionDrifted)
		if c == nil || c.Status != "True" || !strings.Contains(c.Message, "/a (ManualEdit)") {
			t.Errorf("condition %+v", c)
		}
		expect(t, s, "True/Applied")
	}
	// A commit that leaves the object as it is leaves the drift, too.
	w.commit(map[string]string{"apps/b.yaml": configMap("b", "1")})
	s := w.reconcile()
	if value(w, "a") != "3" || s.Status.Drift.Drifted != 1 {
		t.Errorf("another commit: a is %s, drift %+v", value(w, "a"), s.Status.Drift)
	}
	// One that changes the object is applied, and what it overwrites is kept.
	w.commit(map[string]string{"apps/a.yaml": configMap("a", "4")})
	s = w.reconcile()
	if value(w, "a") != "4" || s.Status.Drift.Drifted != 0 || s.Status.Drift.Objects[0].State != v1alpha1.DriftCorrected {
		t.Errorf("a commit of the object: a is %s, drift %+v", value(w, "a"), s.Status.Drift)
	}
	w.recorded(s.Status.Drift.Objects[0].Record, `"3"`)
	if c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionDrifted); c.Status != "False" {
		t.Errorf("condition %+v", c)
	}
}

// TestG08_DriftThatEnds: somebody who puts it right by hand ends the report.
func TestG08_DriftThatEnds(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.driftMode(v1alpha1.DriftDetect)
	w.reconcile()
	w.write("a", "2", "kubectl-edit")
	suspected()
	w.reconcile()
	w.write("a", "1", "kubectl-edit")
	suspected()
	if s := w.reconcile(); s.Status.Drift != nil {
		t.Errorf("status.drift is %+v", s.Status.Drift)
	}
	w.write("a", "5", "kubectl-edit") // and the field is theirs now, but what they do with it is still seen
	suspected()
	if s := w.reconcile(); s.Status.Drift == nil || s.Status.Drift.Drifted != 1 {
		t.Errorf("status.drift is %+v", s.Status.Drift)
	}
}

// TestG38_Deleted: an object that is deleted is noticed, and made again.
func TestG38_Deleted(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	remove := func() {
		if err := w.env.Client.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "a"}}); err != nil {
			t.Fatal(err)
		}
		suspected()
	}
	remove()
	s := w.reconcile()
	if !w.exists("a", &corev1.ConfigMap{}) || s.Status.Drift == nil || s.Status.Drift.Objects[0].Class != "Deleted" || s.Status.Drift.Objects[0].Remedy.Action != "Recreate" {
		t.Errorf("status.drift is %+v", s.Status.Drift)
	}
	w.driftMode(v1alpha1.DriftDetect)
	w.reconcile()
	remove()
	if s := w.reconcile(); w.exists("a", &corev1.ConfigMap{}) || s.Status.Drift.Drifted != 1 {
		t.Errorf("mode Detect: status.drift is %+v", s.Status.Drift)
	}
	w.seen.take()
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 {
		t.Errorf("at rest: %v", got)
	}
}

// TestG04_Fight: two writers are both named, and it is not corrected any more until somebody asks for it.
func TestG04_Fight(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Drift.Fight.Corrections = 2 })
	w.reconcile()
	var s *v1alpha1.Sync
	for i := range 3 {
		w.write("a", fmt.Sprint("x", i), "some-operator")
		suspected()
		w.now = w.now.Add(time.Minute)
		s = w.reconcile()
	}
	c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionDriftFight)
	if c == nil || c.Status != "True" || !strings.Contains(c.Message, "belay-sync and some-operator") {
		t.Errorf("condition %+v", c)
	}
	if value(w, "a") != "x2" || s.Status.Drift.Objects[0].State != v1alpha1.DriftFighting || s.Status.Drift.Objects[0].Class != "ControllerWrite" {
		t.Errorf("a is %s, drift %+v", value(w, "a"), s.Status.Drift)
	}
	w.seen.take()
	w.write("a", "x3", "some-operator")
	suspected()
	w.now = w.now.Add(time.Hour)
	w.reconcile()
	if writes := w.seen.writes(); len(writes) != 0 {
		t.Errorf("a fight goes on: %v", writes)
	}
	w.edit(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "now"} })
	s = w.reconcile()
	if c := v1alpha1.FindCondition(s.Status.Conditions, v1alpha1.ConditionDriftFight); value(w, "a") != "1" || c.Status != "False" {
		t.Errorf("asked for: a is %s, condition %+v", value(w, "a"), c)
	}
}

// TestG15_CrashBetweenRecordAndOverwrite: the record is there once, and so is the correction.
func TestG15_CrashBetweenRecordAndOverwrite(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	w.write("a", "2", "kubectl-edit")
	suspected()
	ctx, cancel := context.WithCancel(t.Context())
	w.seen.before = cancelAt("PATCH", "a", cancel)
	if _, err := w.r.Reconcile(ctx, request(w)); err == nil {
		t.Fatal("the process did not die")
	}
	w.seen.before = nil
	var secret corev1.Secret
	w.get(RecordsName, &secret)
	if len(secret.Data) != 1 || value(w, "a") != "2" {
		t.Fatalf("%d records, a is %s", len(secret.Data), value(w, "a"))
	}
	w.now = w.now.Add(time.Hour)
	s := w.reconcile()
	w.get(RecordsName, &secret)
	if len(secret.Data) != 1 || value(w, "a") != "1" {
		t.Fatalf("%d records, a is %s", len(secret.Data), value(w, "a"))
	}
	w.recorded(s.Status.Drift.Objects[0].Record, `"2"`)
}

// TestG15_NothingUnrecordedIsOverwritten: a write between the record and the correction is not lost.
func TestG15_NothingUnrecordedIsOverwritten(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.reconcile()
	w.write("a", "2", "kubectl-edit")
	suspected()
	once := true
	w.seen.before = onWrite("PATCH", "a", func() {
		if once {
			once = false
			w.write("a", "3", "kubectl-edit")
		}
	})
	w.reconcile()
	if got := value(w, "a"); got != "3" {
		t.Fatalf("what was not recorded is overwritten: a is %s", got)
	}
	s := w.reconcile()
	if value(w, "a") != "1" {
		t.Errorf("a is %s", value(w, "a"))
	}
	w.recorded(s.Status.Drift.Objects[0].Record, `"3"`)
}

// TestDriftIgnored: a field that is others' business is neither compared nor taken away from them.
func TestDriftIgnored(t *testing.T) {
	w := newWorld(t)
	w.watched()
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Drift.Ignore = []v1alpha1.DriftIgnore{{Kind: "ConfigMap", Paths: []string{".data.key"}}}
	})
	w.reconcile()
	w.write("a", "2", "some-operator")
	w.now = w.now.Add(48 * time.Hour) // everything is compared
	s := w.reconcile()
	if value(w, "a") != "2" || s.Status.Drift != nil {
		t.Errorf("a is %s, drift %+v", value(w, "a"), s.Status.Drift)
	}
	w.write("a", "3", "some-operator") // it is not ours any more: nothing to look at
	var sync v1alpha1.Sync
	w.get("shop", &sync)
	w.seen.take()
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 || value(w, "a") != "3" {
		t.Errorf("requests %v, a is %s", got, value(w, "a"))
	}
}

// TestG18_DriftOfASecretIsNotShown: not in status, not in Events, not in a condition, not in the audit.
func TestG18_DriftOfASecretIsNotShown(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	w.start(v1alpha1.PruneDisabled, nil, "secrets")
	for i, mode := range []v1alpha1.DriftMode{v1alpha1.DriftDetect, v1alpha1.DriftCorrect, v1alpha1.DriftDetect, v1alpha1.DriftCorrect} {
		field := []string{"stringData: {key: plantedone}", "data: {key: cGxhbnRlZG9uZQ==}"}[i/2]
		w.commit(map[string]string{"apps/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n" + field + "\n"})
		w.driftMode(mode)
		expect(t, w.reconcile(), "True/Applied")
		live := &corev1.Secret{}
		w.get("a", live)
		live.Data["key"] = []byte(fmt.Sprint("plantedtwo", i))
		if err := w.env.Client.Update(t.Context(), live, client.FieldOwner("kubectl-edit")); err != nil {
			t.Fatal(err)
		}
		suspected()
		s := w.reconcile()
		w.tellsNothing(s)
		if s.Status.Drift == nil || !strings.Contains(s.Status.Drift.Objects[0].Fields[0].Live, "hidden") {
			t.Errorf("mode %s: %+v", mode, s.Status.Drift)
		}
	}
}

// TestG09_DeclaringCommit: each field that differs is told with the commit, the author and the line that declare it.
func TestG09_DeclaringCommit(t *testing.T) {
	w := newWorld(t)
	suspected := w.watched()
	first := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  one: \"1\"\n  two: \"1\"\n"
	w.start(v1alpha1.PruneDisabled, map[string]string{"apps/a.yaml": first}, "configmaps")
	w.driftMode(v1alpha1.DriftDetect)
	old := w.git.Head("fleet", "main")
	newer := w.commit(map[string]string{"apps/a.yaml": strings.Replace(first, "two: \"1\"", "two: \"2\"", 1)})
	w.commit(map[string]string{"apps/b.yaml": configMap("b", "1")})
	w.reconcile()
	cm := &corev1.ConfigMap{}
	w.get("a", cm)
	cm.Data = map[string]string{"one": "x", "two": "y"}
	if err := w.env.Client.Update(t.Context(), cm, client.FieldOwner("kubectl-edit")); err != nil {
		t.Fatal(err)
	}
	suspected()
	s := w.reconcile()
	var got []string
	for _, f := range s.Status.Drift.Objects[0].Fields {
		if f.DeclaredBy == nil {
			t.Fatalf("%s: who declared it is not told", f.Path)
		}
		got = append(got, fmt.Sprintf("%s %s:%d %s", f.Path, f.DeclaredBy.File, f.DeclaredBy.Line, f.DeclaredBy.Commit))
		if f.DeclaredBy.Author == "" || f.DeclaredBy.At == nil || f.DeclaredBy.Subject == "" {
			t.Errorf("%s: %+v", f.Path, f.DeclaredBy)
		}
	}
	if want := fmt.Sprintf("[.data.one apps/a.yaml:5 %s .data.two apps/a.yaml:6 %s]", old, newer); fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	w.seen.take()
	writes := w.statusWrites
	w.reconcile()
	if got := w.seen.take(); len(got) != 0 || w.statusWrites != writes {
		t.Errorf("at rest: %v, %d status writes", got, w.statusWrites-writes)
	}
}
