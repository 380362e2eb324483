package drift

import (
	"bytes"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Owner is one entry of metadata.managedFields: who set which fields, how, and when the set last grew.
type Owner struct {
	Manager     string
	Operation   metav1.ManagedFieldsOperationType
	Subresource string
	APIVersion  string
	Time        time.Time
	fields      *fieldpath.Set
}

// OwnersOf reads metadata.managedFields.
func OwnersOf(entries []metav1.ManagedFieldsEntry) ([]Owner, error) {
	out := make([]Owner, 0, len(entries))
	for _, e := range entries {
		o := Owner{Manager: e.Manager, Operation: e.Operation, Subresource: e.Subresource, APIVersion: e.APIVersion, fields: &fieldpath.Set{}}
		if e.Time != nil {
			o.Time = e.Time.Time
		}
		if e.FieldsV1 != nil {
			if err := o.fields.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
				return nil, fmt.Errorf("reading the fields of manager %q: %w", e.Manager, err)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// applies says that this is the entry of a manager's own applies.
func (o Owner) applies(manager string) bool {
	return o.Manager == manager && o.Operation == metav1.ManagedFieldsOperationApply && o.Subresource == ""
}

// Owns says that the manager set the field, or something above it as a whole.
func (o Owner) Owns(path fieldpath.Path) bool {
	set := o.fields
	for i, element := range path {
		if set.Members.Has(element) {
			below, has := set.Children.Get(element)
			if i == len(path)-1 || !has || below.Empty() {
				return true
			}
		}
		below, has := set.Children.Get(element)
		if !has {
			return false
		}
		set = below
	}
	return true // something below it
}

// ownOf is the entry of our own applies, or nil.
func ownOf(owners []Owner, manager string) *Owner {
	for i := range owners {
		if owners[i].applies(manager) {
			return &owners[i]
		}
	}
	return nil
}

// holder is who owns a field beside us, the one that wrote last where there are several; nil where nobody does.
func holder(owners []Owner, manager string, path fieldpath.Path) *Owner {
	var found *Owner
	for i := range owners {
		o := &owners[i]
		if !o.applies(manager) && o.Subresource != "status" && o.Owns(path) && (found == nil || o.Time.After(found.Time)) {
			found = o
		}
	}
	return found
}

// latest is who wrote last of all others, at or after a time: the best guess at who removed something, which leaves no
// trace of its own.
func latest(owners []Owner, manager string, since time.Time) *Owner {
	var found *Owner
	for i := range owners {
		o := &owners[i]
		if !o.applies(manager) && o.Subresource != "status" && !o.Time.Before(since) && (found == nil || o.Time.After(found.Time)) {
			found = o
		}
	}
	return found
}
