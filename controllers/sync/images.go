package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/preflight"
	"github.com/belay-delivery/belay/gitops/render"
)

// workload is what two environments have in common of an object: its kind and name. They differ in the namespace.
type workload struct {
	kind schema.GroupKind
	name string
}

// use is an image of a workload.
type use struct {
	workload workload
	image    preflight.Image
}

func (u use) String() string {
	return fmt.Sprintf("image %q of %s %s", u.image.Name, u.workload.kind, u.workload.name)
}

// ran is which images were run by what.
type ran struct {
	by           map[workload][]string // contents
	repositories map[string]bool
}

// usesOf are the images that a bundle declares.
func usesOf(objects []render.Object) []use {
	var out []use
	for _, o := range objects {
		for _, image := range preflight.Images(o.Unstructured) {
			out = append(out, use{workload{o.GroupVersionKind().GroupKind(), o.GetName()}, image})
		}
	}
	return out
}

func ranBy(objects []render.Object) ran {
	out := ran{by: map[workload][]string{}, repositories: map[string]bool{}}
	for _, u := range usesOf(objects) {
		out.by[u.workload] = append(out.by[u.workload], u.image.Content())
		out.repositories[u.image.Repository()] = true
	}
	return out
}

// has says whether the workload ran the image; where it is another one's by name (as with a namePrefix), whether any did.
func (r ran) has(u use, byName bool) bool {
	if byName {
		return slices.Contains(r.by[u.workload], u.image.Content())
	}
	for _, images := range r.by {
		if slices.Contains(images, u.image.Content()) {
			return true
		}
	}
	return false
}

// named says whether there is such a workload.
func (r ran) named(u use) bool { return r.by[u.workload] != nil }

// foreign are images that nothing there could ever prove: neither the workload nor any other runs something of that name.
func (r ran) foreign(u use) bool { return !r.named(u) && !r.repositories[u.image.Repository()] }

// unproven says which images a commit would bring that neither the Sync that is followed nor this one has proven. What the
// candidate's own bundle does not answer, older ones are asked for: those that soaked there, and those that were Healthy here.
func (r *Reconciler) unproven(ctx context.Context, l lead, candidate v1alpha1.SyncRecord) (string, error) {
	if l.sync.Spec.Gates.Follows.Images == v1alpha1.ImagesAny {
		return "", nil
	}
	objects, err := r.declared(ctx, l.sync, l.repo, candidate.Commit)
	if err != nil {
		return "", err
	}
	here := past{r, l.sync, l.repo, func(was ran, u use) bool { return was.has(u, true) }}
	applied := v1alpha1.SyncRecord{Commit: l.sync.Status.AppliedCommit, Digest: l.sync.Status.AppliedDigest}
	left, err := here.without(ctx, usesOf(objects), applied)
	if err != nil || len(left) == 0 {
		return "", err
	}
	there := past{Reconciler: r, sync: l.other, repo: l.repo}
	now, known, err := there.ran(ctx, candidate)
	switch {
	case err != nil:
		return "", err
	case !known:
		return fmt.Sprintf("gates.follows: what Sync %q ran of commit %s cannot be told any more: its path has changed, or the commit is gone", l.other.Name, short(candidate.Commit)), nil
	}
	there.answers = func(was ran, u use) bool { return was.has(u, now.named(u)) }
	left = slices.DeleteFunc(left, now.foreign)
	if left, err = there.without(ctx, left, l.proven...); err != nil {
		return "", err
	}
	if left, err = here.without(ctx, left, healthy(l.sync.Status.History)...); err != nil || len(left) == 0 {
		return "", err
	}
	var names []string
	for _, u := range left {
		names = append(names, u.String())
	}
	return fmt.Sprintf("gates.follows: commit %s brings %s, which Sync %q has not run Healthy for %s", short(candidate.Commit), list(slices.Compact(names)), l.other.Name, l.soak), nil
}

func healthy(records []v1alpha1.SyncRecord) []v1alpha1.SyncRecord {
	return slices.DeleteFunc(slices.Clone(records), func(record v1alpha1.SyncRecord) bool { return record.HealthySince == nil || record.Broken != "" })
}

// past is what a Sync ran, and what that answers for.
type past struct {
	*Reconciler
	sync    *v1alpha1.Sync
	repo    *v1alpha1.Repository
	answers func(ran, use) bool
}

// without leaves out the images that one of the records answers for.
func (p past) without(ctx context.Context, left []use, records ...v1alpha1.SyncRecord) ([]use, error) {
	for _, record := range records {
		if len(left) == 0 {
			return nil, nil
		}
		was, known, err := p.ran(ctx, record)
		if err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(left, func(u use) bool { return known && p.answers(was, u) })
	}
	return left, nil
}

// ran is what was run of a record. known is false where that cannot be told any more, because the commit is gone or renders to
// something else: from another path, by another version of Belay.
func (p past) ran(ctx context.Context, record v1alpha1.SyncRecord) (found ran, known bool, err error) {
	if record.Commit == "" {
		return ran{}, false, nil
	}
	objects, err := p.declared(ctx, p.sync, p.repo, record.Commit)
	var why *failure
	switch {
	case err == nil && render.Digest(objects) == record.Digest:
		return ranBy(objects), true, nil
	case err == nil, errors.As(err, &why) && (why.stalled || repository.Explain(why.cause).Reason == repository.ReasonCommitGone):
		return ran{}, false, nil
	}
	return ran{}, false, err
}
