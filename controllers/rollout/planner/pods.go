package planner

import (
	"encoding/json"
	"fmt"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// DressOf writes down what pods carry for a role; empty for nothing. Equal metadata is written equally.
func DressOf(m v1alpha1.PodMetadata) string {
	if len(m.Labels)+len(m.Annotations) == 0 {
		return ""
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "" // maps of strings: cannot happen
	}
	return string(data)
}

// undressable says which label of roleMetadata a Service selects pods by: pods must not leave it because their role changes.
func (d *draft) undressable() string {
	m := d.Rollout.Spec.RoleMetadata
	for _, role := range []v1alpha1.Role{v1alpha1.RoleStable, v1alpha1.RoleCanary} {
		for _, key := range d.Stable.Keys {
			if _, has := m.Of(role).Labels[key]; has {
				return fmt.Sprintf("spec.roleMetadata.%s.labels has %s, which Service %s selects pods by: take it out", role, key, d.Stable.Name)
			}
		}
	}
	return ""
}

// dress brings every pod to the metadata of the role that it has now. Traffic does not depend on it, so it comes last.
func (d *draft) dress() {
	if d.undressable() != "" && d.Rollout.DeletionTimestamp == nil {
		return
	}
	for i := range d.ReplicaSets {
		rs := &d.ReplicaSets[i]
		var changed []string
		want, role := v1alpha1.PodMetadata{}, d.roleOf(rs.Revision)
		if d.Rollout.DeletionTimestamp == nil {
			want = d.Rollout.Spec.RoleMetadata.Of(role)
		}
		for _, p := range d.Pods {
			if p.Revision == rs.Revision && p.Dress != DressOf(want) && (p.Role == role || d.Rollout.DeletionTimestamp != nil) {
				changed = append(changed, p.Name)
			}
		}
		if len(changed) > 0 {
			d.do(DressPods{Revision: rs.Revision, Pods: changed, Metadata: want, Why: "spec.roleMetadata of role " + string(role)})
		}
	}
}

// readiness follows a change of minReadySeconds.
func (d *draft) readiness() {
	want := d.Rollout.Spec.MinReadySeconds
	for _, rs := range d.ReplicaSets {
		if rs.MinReadySeconds != want && (rs.Wanted > 0 || rs.Current > 0) {
			d.do(SetMinReady{Revision: rs.Revision, Seconds: want, Why: "spec.minReadySeconds"})
		}
	}
}
