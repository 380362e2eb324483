package sync

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/render"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	if u.GetKind() == "" {
		return u
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.UnmarshalJSON(raw); err != nil { // whole numbers are int64, as the API server's answers have them
		t.Fatal(err)
	}
	return u
}

func item(t *testing.T, text string) *Item {
	u := object(t, text)
	return &Item{Desired: u, Entry: entryOf(u), File: u.GetName() + ".yaml"}
}

// same is an item that is already as it should be.
func same(t *testing.T, text string) *Item {
	i := item(t, text)
	i.Live, i.Dry = i.Desired.DeepCopy(), i.Desired.DeepCopy()
	i.Dry.SetResourceVersion("2")
	return i
}

func faulty(i *Item, f Fault) *Item {
	i.Fault = &f
	return i
}

const (
	crd     = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.example.com}, spec: {group: example.com, scope: Namespaced, names: {kind: Widget}}}"
	widget  = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: shop}}"
	space   = "{apiVersion: v1, kind: Namespace, metadata: {name: new}}"
	inSpace = "{apiVersion: v1, kind: ConfigMap, metadata: {name: in, namespace: new}}"
	cm      = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}"
	hook    = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: hook}}"
)

// story writes a plan down in one line.
func story(p Plan) string {
	if p.Refused != nil {
		return fmt.Sprintf("refused %s stalled=%v: %s", p.Refused.reason, p.Refused.stalled, p.Refused.message)
	}
	var out []string
	for _, level := range p.Apply {
		for _, i := range level {
			out = append(out, "apply "+name(i.Entry))
		}
	}
	for _, e := range p.Prune {
		out = append(out, "prune "+name(e))
	}
	return strings.Join(append(out, fmt.Sprintf("inventory %d then %d", len(p.Inventory), len(p.Final))), ", ")
}

func TestPlan(t *testing.T) {
	missing := Fault{Message: "no such kind", Denied: true, Missing: true}
	denied := Fault{Message: "no", Denied: true}
	entry := func(text string) v1alpha1.InventoryEntry { return item(t, text).Entry }
	for name, test := range map[string]struct {
		items []*Item
		had   []v1alpha1.InventoryEntry
		prune v1alpha1.Prune
		want  string
	}{
		"stages": {
			items: []*Item{item(t, hook), item(t, cm), item(t, space), item(t, crd)},
			want: "apply CustomResourceDefinition.apiextensions.k8s.io widgets.example.com, apply Namespace new, apply ConfigMap shop/a, " +
				"apply ValidatingWebhookConfiguration.admissionregistration.k8s.io hook, inventory 4 then 4",
		},
		"at rest": {items: []*Item{same(t, cm)}, had: []v1alpha1.InventoryEntry{entry(cm)}, want: "inventory 1 then 1"},
		"kind of the same bundle is exempt": {
			items: []*Item{item(t, crd), faulty(item(t, widget), missing)},
			want:  "apply CustomResourceDefinition.apiextensions.k8s.io widgets.example.com, apply Widget.example.com shop/w, inventory 2 then 2",
		},
		"kind that the bundle does not change is not": {
			items: []*Item{same(t, crd), faulty(item(t, widget), denied)},
			want:  "refused Denied stalled=true: nothing was changed: Widget.example.com shop/w (w.yaml): no",
		},
		"namespace of the same bundle is exempt": {
			items: []*Item{item(t, space), faulty(item(t, inSpace), missing)},
			want:  "apply Namespace new, apply ConfigMap new/in, inventory 2 then 2",
		},
		"a refusal in a new namespace is not": {
			items: []*Item{item(t, space), faulty(item(t, inSpace), denied)},
			want:  "refused Denied stalled=true: nothing was changed: ConfigMap new/in (in.yaml): no",
		},
		"no answer is not a denial": {
			items: []*Item{faulty(item(t, cm), Fault{Message: "timeout"})},
			want:  "refused CheckFailed stalled=false: nothing was changed: ConfigMap shop/a (a.yaml): timeout",
		},
		"prune backwards": {
			items: []*Item{same(t, cm)}, prune: v1alpha1.PruneEnabled,
			had:  []v1alpha1.InventoryEntry{entry(crd), entry(space), entry(cm), entry(inSpace), entry(hook)},
			want: "prune ValidatingWebhookConfiguration.admissionregistration.k8s.io hook, prune ConfigMap new/in, prune Namespace new, prune CustomResourceDefinition.apiextensions.k8s.io widgets.example.com, inventory 5 then 1",
		},
		"another version is the same object": {
			items: []*Item{same(t, cm)}, prune: v1alpha1.PruneEnabled,
			had:  []v1alpha1.InventoryEntry{{Version: "v0", Kind: "ConfigMap", Namespace: "shop", Name: "a"}},
			want: "inventory 1 then 1",
		},
		"no prune, no forgetting": {
			items: []*Item{same(t, cm)}, prune: v1alpha1.PruneDisabled,
			had:  []v1alpha1.InventoryEntry{entry(inSpace)},
			want: "inventory 2 then 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			sync := &v1alpha1.Sync{}
			sync.Spec.Prune, sync.Status.Inventory = test.prune, test.had
			if diff := cmp.Diff(test.want, story(MakePlan(sync, "c0ffee", test.items))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanNamesTheFirstAndCountsTheRest(t *testing.T) {
	var items []*Item
	for i := range 8 {
		items = append(items, faulty(item(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}}", i)), Fault{Message: "no", Denied: true}))
	}
	got := MakePlan(&v1alpha1.Sync{}, "c", items).Refused.message
	if strings.Count(got, ": no") != maxNamed || !strings.HasSuffix(got, "; and 3 more") {
		t.Errorf("message %q", got)
	}
}

func TestPlanKeepsTheInventoryWithinItsBound(t *testing.T) {
	sync := &v1alpha1.Sync{}
	for i := range maxObjects {
		sync.Status.Inventory = append(sync.Status.Inventory, v1alpha1.InventoryEntry{Version: "v1", Kind: "ConfigMap", Name: fmt.Sprint(i)})
	}
	if p := MakePlan(sync, "c", []*Item{item(t, cm)}); p.Refused == nil || p.Refused.reason != ReasonTooLarge {
		t.Errorf("plan %s", story(p))
	}
}

func TestPrepare(t *testing.T) {
	known := func(kind schema.GroupKind) (bool, error) {
		switch kind.Kind {
		case "ConfigMap", "Rollout":
			return true, nil
		case "Namespace", kindCRD:
			return false, nil
		}
		return false, &meta.NoKindMatchError{GroupKind: kind}
	}
	sync := &v1alpha1.Sync{}
	sync.Namespace, sync.Name = "shop", "prod"
	var objects []render.Object
	for _, text := range []string{
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: x, resourceVersion: \"1\", labels: {belay.dev/sync: forged}}, status: {x: y}}",
		"{apiVersion: v1, kind: Namespace, metadata: {name: nn, namespace: wrong}}",
		"{apiVersion: belay.dev/v1alpha1, kind: Rollout, metadata: {name: r, annotations: {belay.dev/commit: forged}}}",
		"{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}", crd,
		"{apiVersion: example.com/v1, kind: Gadget, metadata: {name: g}}",
	} {
		objects = append(objects, render.Object{Unstructured: object(t, text)})
	}
	items, err := prepare(sync, objects, known)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range items {
		line := name(i.Entry) + " " + i.Desired.GetLabels()[v1alpha1.LabelSync]
		if i.Fault != nil {
			line += " unknown"
		}
		if i.Desired.GetUID() != "" || i.Desired.GetResourceVersion() != "" || i.Desired.Object["status"] != nil || i.Desired.GetAnnotations()[v1alpha1.AnnotationCommit] != "" {
			t.Errorf("%s keeps what is not Git's to say: %v", name(i.Entry), i.Desired.Object)
		}
		got = append(got, line)
	}
	want := []string{
		"CustomResourceDefinition.apiextensions.k8s.io widgets.example.com prod", "Namespace nn prod", "ConfigMap shop/a prod",
		"Widget.example.com shop/w prod", "Gadget.example.com g prod unknown", "Rollout.belay.dev shop/r prod",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	twice := []render.Object{objects[0], {Unstructured: object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")}}
	if _, err := prepare(sync, twice, known); err == nil || !strings.Contains(err.Error(), "declared twice") {
		t.Errorf("two objects of one name: %v", err)
	}
}

func TestG07_AFinalFaultIsNotCuredByTheBundle(t *testing.T) {
	p := MakePlan(&v1alpha1.Sync{}, "c", []*Item{item(t, crd), faulty(item(t, widget), Fault{Message: "seven is taken", Denied: true, Final: true})})
	if p.Refused == nil || p.Refused.reason != ReasonDenied || p.Inventory != nil {
		t.Errorf("plan %s", story(p))
	}
}

func TestWithin(t *testing.T) {
	for name, test := range map[string]struct {
		desired, live string
		want          bool
	}{
		"more is there":   {"{a: 1, b: {c: x}}", "{a: 1, b: {c: x, d: y}, e: z}", true},
		"other value":     {"{a: 1}", "{a: 2}", false},
		"missing":         {"{a: {b: 1}}", "{a: {}}", false},
		"items in order":  {"{a: [{x: 1}]}", "{a: [{x: 1, y: 2}]}", true},
		"an item more":    {"{a: [1]}", "{a: [1, 2]}", false},
		"empty list":      {"{a: []}", "{}", true},
		"list to scalar":  {"{a: [1]}", "{a: 1}", false},
		"map to scalar":   {"{a: {b: 1}}", "{a: 1}", false},
		"empty map there": {"{a: {}}", "{}", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := within(object(t, test.desired).Object, object(t, test.live).Object); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
