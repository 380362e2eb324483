package sync

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
)

// maxAuthors is how many are written down; where there are more, they count as unknown.
const maxAuthors = 32

// nameAuthors writes on every Rollout that is about to change, and asks for it, who wrote what is not proven yet: all commits of
// the branch since the one that brought the stable revision, or, where that is not known, since the last that was applied.
func (r *Reconciler) nameAuthors(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, commit string, plan Plan) error {
	for _, level := range plan.Apply {
		for _, item := range level {
			if !asksForAuthors(item.Desired) {
				continue
			}
			authors, known, err := r.authorsSince(ctx, repo, since(item.Live, sync), commit)
			switch {
			case err != nil && sync.Status.Held != nil:
				known = false // going back does not wait for Git
			case err != nil && commit == sync.Status.AppliedCommit:
				continue // it is put right, and keeps the names that it has
			case err != nil:
				p := repository.Explain(err)
				return &failure{reason: ReasonFetchFailed, message: fmt.Sprintf("Repository %q: reading who wrote commit %s: %s", repo.Name, commit, p.Error()), cause: err}
			}
			value := v1alpha1.AuthorsUnknown
			if known && len(authors) > 0 && len(authors) <= maxAuthors {
				value = strings.Join(authors, ",")
			}
			item.Desired = annotated(item.Desired, v1alpha1.AnnotationAuthors, value)
		}
	}
	return nil
}

func (r *Reconciler) authorsSince(ctx context.Context, repo *v1alpha1.Repository, from, to string) (authors []string, known bool, err error) {
	if from == "" || from == to {
		return nil, false, nil
	}
	return r.Source.Authors(ctx, repo, from, to)
}

// since is the commit up to which a Rollout is proven.
func since(live *unstructured.Unstructured, sync *v1alpha1.Sync) string {
	if live != nil {
		if commit, _, _ := unstructured.NestedString(live.Object, "status", "stable", "commit"); commit != "" {
			return commit
		}
	}
	return sync.Status.AppliedCommit
}

func asksForAuthors(u *unstructured.Unstructured) bool {
	if u == nil || !isRollout(u) {
		return false
	}
	text, _, _ := unstructured.NestedString(u.Object, "spec", "approvals", "notTheAuthor")
	return text == string(v1alpha1.Enabled)
}
