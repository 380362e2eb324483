package sync

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
)

// approvals notes which drifts of a Sync people have let through, and answers their Decisions. A Decision names the digest of
// what was found and of what would be written: where the object has changed since, it lets nothing through.
func (r *Reconciler) approvals(ctx context.Context, sync *v1alpha1.Sync) error {
	r.approved.Delete(sync.UID)
	waiting := awaiting(sync)
	if len(waiting) == 0 {
		return nil
	}
	decisions, err := r.decisionsOf(ctx, sync)
	if err != nil {
		return err
	}
	through := map[string]bool{}
	for i := range decisions {
		d := &decisions[i]
		if _, is := waiting[d.Spec.Plan]; !is {
			continue
		}
		if err := r.answer(ctx, d, ""); err != nil {
			return err
		}
		through[d.Spec.Plan] = d.Spec.Action == v1alpha1.ActionApprove // the last word counts
	}
	r.approved.Store(sync.UID, through)
	return nil
}

// awaiting are the drifts that need an approval, by digest.
func awaiting(sync *v1alpha1.Sync) map[string]drift.Ref {
	out := map[string]drift.Ref{}
	if sync.Status.Drift == nil {
		return out
	}
	for _, o := range sync.Status.Drift.Objects {
		if o.State == v1alpha1.DriftAwaitingApproval {
			out[o.Digest] = refOf(entryOfDrifted(o))
		}
	}
	return out
}

func (r *Reconciler) isApproved(uid types.UID, digest string) bool {
	found, _ := r.approved.Load(uid)
	through, _ := found.(map[string]bool)
	return through[digest]
}

// letThrough are the objects whose drift was approved and is not corrected yet.
func (r *Reconciler) letThrough(sync *v1alpha1.Sync, but []drift.Suspect) []drift.Suspect {
	var out []drift.Suspect
	for digest, ref := range awaiting(sync) {
		known := false
		for _, s := range but {
			known = known || s.Ref == ref
		}
		if !known && r.isApproved(sync.UID, digest) {
			out = append(out, drift.Suspect{Ref: ref})
		}
	}
	return out
}
