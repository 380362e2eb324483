package sync

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// change is an item that is there as before, and is to be as after.
func change(t *testing.T, before, after string) *Item {
	i := item(t, after)
	if before != "" {
		i.Live = object(t, before)
	}
	i.Dry = i.Desired.DeepCopy()
	return i
}

const (
	roleA   = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: shop}, rules: [{apiGroups: [apps], resources: [deployments], verbs: [get]}]}"
	roleB   = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: shop}, rules: [{apiGroups: [apps], resources: [deployments], verbs: [get, delete]}]}"
	roleAll = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: shop}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}"
	binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}, subjects: [%s]}"
	jane    = "{kind: User, name: jane}"
	joe     = "{kind: ServiceAccount, name: joe, namespace: ops}"
	web     = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: %d, template: {spec: {containers: [{name: c, image: %s}]}}}}"
)

func TestG13_ThePlanSaysHowRiskyEachActionIsAndWhy(t *testing.T) {
	prune := func(text string) *v1alpha1.InventoryEntry { return &item(t, text).Entry }
	for name, test := range map[string]struct {
		item  *Item
		prune *v1alpha1.InventoryEntry
		want  string
	}{
		"create":               {item: change(t, "", cm), want: "Create Low"},
		"update":               {item: change(t, cm, strings.Replace(cm, "}}", "}, data: {a: b}}", 1)), want: "Update Low"},
		"to no pods":           {item: change(t, fmt.Sprintf(web, 3, "a"), fmt.Sprintf(web, 0, "a")), want: "Update High: replicas go from 3 to 0"},
		"without a canary":     {item: change(t, fmt.Sprintf(web, 3, "a"), fmt.Sprintf(web, 3, "b")), want: "Update Medium: its pods are replaced without a canary"},
		"more rights":          {item: change(t, roleA, roleB), want: "Update High: it allows more: delete deployments.apps"},
		"fewer rights":         {item: change(t, roleB, roleA), want: "Update Low"},
		"within a wildcard":    {item: change(t, roleAll, roleB), want: "Update Low"},
		"a wildcard":           {item: change(t, roleA, roleAll), want: "Update High: it allows more: * *.*"},
		"a new subject":        {item: change(t, fmt.Sprintf(binding, jane), fmt.Sprintf(binding, jane+", "+joe)), want: "Update High: it gives rights to ServiceAccount ops/joe: Role r"},
		"a subject less":       {item: change(t, fmt.Sprintf(binding, jane+", "+joe), fmt.Sprintf(binding, jane)), want: "Update Low"},
		"a new binding":        {item: change(t, "", fmt.Sprintf(binding, jane)), want: "Create High: it gives rights to User jane: Role r"},
		"a hook":               {item: change(t, "", hook), want: "Create Medium: it decides what the API server accepts"},
		"prune":                {prune: prune(cm), want: "Prune Medium: it is deleted: it left Git"},
		"prune a definition":   {prune: prune(crd), want: "Prune High: every object of the kind goes with its definition"},
		"prune a namespace":    {prune: prune(space), want: "Prune High: everything in the namespace goes with it"},
		"prune a workload":     {prune: prune(fmt.Sprintf(web, 1, "a")), want: "Prune High: its pods go with it"},
		"prune a claim":        {prune: prune("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d, namespace: shop}}"), want: "Prune High: its data may go with it"},
		"version out of serve": {item: change(t, strings.Replace(crd, "spec: {", "spec: {versions: [{name: v1, served: true}, {name: v2, served: true}], ", 1), strings.Replace(crd, "spec: {", "spec: {versions: [{name: v2, served: true}], ", 1)), want: "Update High: version v1 is no longer served; the definition of a kind is changed"},
	} {
		t.Run(name, func(t *testing.T) {
			var p Plan
			if test.item != nil {
				p.Apply[stageRest] = []*Item{test.item}
			} else {
				p.Prune = []v1alpha1.InventoryEntry{*test.prune}
			}
			got := describe(p, "c0ffee", "d1", 1, nil)
			line := got.Actions[0].Action + " " + string(got.Actions[0].Risk)
			if len(got.Actions[0].Reasons) > 0 {
				line += ": " + strings.Join(got.Actions[0].Reasons, "; ")
			}
			if diff := cmp.Diff(test.want, line); diff != "" || got.Risk != got.Actions[0].Risk {
				t.Errorf("risk of the plan %s, (-want +got):\n%s", got.Risk, diff)
			}
		})
	}
}

func TestG11_SameBundleAndSameClusterGiveTheSamePlan(t *testing.T) {
	plan := func(order ...int) *v1alpha1.SyncPlan {
		items := []*Item{change(t, roleA, roleB), change(t, "", cm), change(t, fmt.Sprintf(web, 3, "a"), fmt.Sprintf(web, 0, "b"))}
		var p Plan
		for _, i := range order {
			p.Apply[stageRest] = append(p.Apply[stageRest], items[i])
		}
		return describe(p, "c0ffee", "d1", 5, []string{"ask"})
	}
	want, err := json.Marshal(plan(0, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		got, err := json.Marshal(plan(order...))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("order %v:\n%s\n%s", order, want, got)
		}
	}
	if a, b := plan(0, 1, 2), plan(0, 1); a.Digest == b.Digest || a.Skip != 2 || a.Create != 1 || a.Update != 2 {
		t.Errorf("digests %s and %s of two plans; counts %+v", a.Digest, b.Digest, a)
	}
}

func TestThePlanIsBounded(t *testing.T) {
	var p Plan
	for i := range 300 {
		p.Apply[stageRest] = append(p.Apply[stageRest], change(t, "", fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}}", i)))
	}
	p.Apply[stageRest] = append(p.Apply[stageRest], change(t, roleA, roleB))
	got := describe(p, "c", "d", 301, nil)
	if len(got.Actions) != maxActions || got.Actions[0].Risk != v1alpha1.RiskHigh || got.Create != 300 {
		t.Errorf("%d actions, the first %+v, %d created", len(got.Actions), got.Actions[0], got.Create)
	}
}
