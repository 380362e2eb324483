package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/signature"
	"github.com/belay-delivery/belay/gitops/trust"
)

// mode is which commits of a Repository must be signed.
func mode(repo *v1alpha1.Repository) v1alpha1.VerifyMode {
	switch {
	case repo.Spec.Verify == nil:
		return v1alpha1.VerifyOff
	case repo.Spec.Verify.Mode == "":
		return v1alpha1.VerifyRange
	}
	return repo.Spec.Verify.Mode
}

// verify says who signed the head, or why it may not come into force. What was verified before is not verified again.
func (r *Reconciler) verify(ctx context.Context, repo *v1alpha1.Repository, head string) (*v1alpha1.VerifiedCommit, error) {
	done := repo.Status.Verified
	switch {
	case mode(repo) == v1alpha1.VerifyOff:
		return nil, nil
	case done != nil && done.Commit == head && done.Mode == mode(repo) && repo.Status.ObservedGeneration == repo.Generation:
		return done, nil
	}
	restored, err := restoredIn(ctx, r.Client, repo)
	if err != nil {
		return nil, err
	}
	result, err := r.Source.Verify(ctx, repo, head, restored)
	if err != nil {
		return nil, err
	}
	at := metav1.NewTime(r.now().Truncate(time.Second))
	return &v1alpha1.VerifiedCommit{
		Commit: head, Mode: mode(repo), Signer: result.Signer.Email, Key: result.Signer.Fingerprint,
		Commits: int32(result.Commits), At: &at, //nolint:gosec // at most trust.DefaultLimit
	}, nil
}

// Restored is what a bot may bring back in a Repository: what Rollouts are reverted in. Those of its namespace that name it say so
// themselves; of those of other namespaces, whose own Repository is written to and of the same URL, Git must say it too.
type Restored struct {
	Folders  []string
	Values   []revert.Value
	Declared []trust.Declared
}

func restoredIn(ctx context.Context, reader client.Reader, repo *v1alpha1.Repository) (Restored, error) {
	var rollouts v1alpha1.RolloutList
	var repositories v1alpha1.RepositoryList
	if err := errors.Join(reader.List(ctx, &rollouts), reader.List(ctx, &repositories)); err != nil {
		return Restored{}, fmt.Errorf("listing Rollouts that are reverted here: %w", err)
	}
	same := map[client.ObjectKey]bool{}
	for i := range repositories.Items {
		other := &repositories.Items[i]
		same[client.ObjectKeyFromObject(other)] = other.Spec.Write != nil && git.SameRepository(other.Spec.URL, repo.Spec.URL)
	}
	var out Restored
	for i := range rollouts.Items {
		rollout := &rollouts.Items[i]
		spec := rollout.Spec.OnFailure.Revert
		switch {
		case spec == nil:
			continue
		case rollout.Namespace != repo.Namespace || spec.Repository != repo.Name:
			if spec.Path != "" && same[client.ObjectKey{Namespace: rollout.Namespace, Name: spec.Repository}] {
				out.Declared = append(out.Declared, trust.Declared{Folder: spec.Path, Namespace: rollout.Namespace, Name: rollout.Name})
			}
			continue
		}
		if spec.Path != "" {
			out.Folders = append(out.Folders, spec.Path)
		}
		out.Values = append(out.Values, revert.ValuesOf(spec)...)
	}
	slices.Sort(out.Folders)
	out.Folders = slices.Compact(out.Folders)
	return out, nil
}

// Accepts says why a commit may not come into force, for whoever would build on it: nil where it may, or where nothing is verified.
func (s *Source) Accepts(ctx context.Context, reader client.Reader, repo *v1alpha1.Repository, head string) error {
	if done := repo.Status.Verified; mode(repo) == v1alpha1.VerifyOff || done != nil && done.Commit == head && done.Mode == mode(repo) && repo.Status.ObservedGeneration == repo.Generation {
		return nil
	}
	restored, err := restoredIn(ctx, reader, repo)
	if err == nil {
		_, err = s.Verify(ctx, repo, head, restored)
	}
	return err
}

// Verify checks the signatures that lead to a commit: of it alone in mode Head, of all since the commit in force in mode Range.
// Its refusals are Problems.
func (s *Source) Verify(ctx context.Context, repo *v1alpha1.Repository, head string, restored Restored) (trust.Result, error) {
	signers, err := s.signers(ctx, repo)
	if err != nil {
		return trust.Result{}, err
	}
	base := ""
	if mode(repo) == v1alpha1.VerifyRange {
		base = repo.Status.Commit
	}
	policy := trust.Policy{Signers: signers, Folders: restored.Folders, Values: restored.Values, Declared: restored.Declared}
	// What is there already is usually enough. More history is fetched before anything is refused.
	for _, depth := range []int{1, deepest} {
		var view *git.Repo
		if view, err = s.at(ctx, repo, head, depth); err != nil {
			return trust.Result{}, err
		}
		var result trust.Result
		if result, err = trust.Range(policy, view, base, head); err == nil {
			return result, nil
		}
	}
	var refused *trust.Error
	switch {
	case errors.As(err, &refused):
		return trust.Result{}, problem(ReasonSignatureRefused, fmt.Errorf("%w; %s stays in force", err, inForce(repo)))
	case errors.Is(err, trust.ErrIncomplete):
		return trust.Result{}, problem(ReasonHistoryIncomplete, fmt.Errorf("%w; %s stays in force. "+
			"To accept the head without what came before it, set spec.verify.mode to Head until the Repository is Ready", err, inForce(repo)))
	}
	return trust.Result{}, err
}

func inForce(repo *v1alpha1.Repository) string {
	if repo.Status.Commit == "" {
		return "no commit"
	}
	return "commit " + repo.Status.Commit
}

func (s *Source) signers(ctx context.Context, repo *v1alpha1.Repository) (signature.Signers, error) {
	ref := repo.Spec.Verify.TrustedSigners
	if ref == nil {
		return signature.Signers{}, problem(ReasonInvalid, errors.New("spec.verify.trustedSigners is missing"))
	}
	var secret corev1.Secret
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return signature.Signers{}, problem(ReasonSignersInvalid, fmt.Errorf("Secret %q of spec.verify.trustedSigners does not exist", ref.Name))
	case err != nil:
		return signature.Signers{}, &Problem{Reason: ReasonSecretUnreadable, err: fmt.Errorf("reading Secret %q: %w", ref.Name, err)}
	}
	signers, err := signature.ParseSigners(secret.Data)
	if err != nil {
		return signature.Signers{}, problem(ReasonSignersInvalid, fmt.Errorf("Secret %q: %w", ref.Name, err))
	}
	return signers, nil
}
