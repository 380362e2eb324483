package revert

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/forge"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
)

// branchPrefix is of the branches that pull requests are made from; the rest of their name is the revert's id.
const branchPrefix = "rollback/"

// keyToken is the key of a forge's token in its Secret.
const keyToken = "token"

// strategyOf is how this Rollout's reverts get onto the branch.
func strategyOf(rollout *v1alpha1.Rollout, repo *v1alpha1.Repository) v1alpha1.RevertStrategy {
	return cmp.Or(rollout.Spec.OnFailure.Revert.Strategy, repo.Spec.Write.Strategy, v1alpha1.StrategyPushThenPullRequest)
}

// forge opens the way to pull requests, or says why there is none.
func (r *Reconciler) forge(ctx context.Context, repo *v1alpha1.Repository) (forge.Forge, error) {
	write := repo.Spec.Write
	if write == nil {
		return nil, errors.New("spec.write is not set")
	}
	o := forge.Options{RepositoryURL: repo.Spec.URL}
	field, ref := "spec.write.secretRef", write.SecretRef
	if f := write.Forge; f != nil {
		o.Type, o.APIURL = forge.Type(f.Type), f.APIURL
		if f.SecretRef != nil {
			field, ref = "spec.write.forge.secretRef", f.SecretRef
		}
	}
	if o.Type == "" && forge.Guess(repo.Spec.URL) == "" {
		return nil, errors.New("spec.write.forge.type is not set, and the host of spec.url does not say which forge it is")
	}
	if ref == nil {
		return nil, errors.New("there is no token for the forge's API: set spec.write.forge.secretRef")
	}
	var secret corev1.Secret
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}, &secret); err != nil {
		return nil, fmt.Errorf("reading Secret %q of %s: %w", ref.Name, field, err)
	}
	for _, key := range []string{keyToken, git.KeyBearerToken, git.KeyPassword} {
		o.Token = cmp.Or(o.Token, strings.TrimSpace(string(secret.Data[key])))
	}
	if o.Token == "" {
		return nil, fmt.Errorf("Secret %q of %s has no token: set its key %q", ref.Name, field, keyToken)
	}
	if ca := secret.Data[git.KeyCA]; len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("Secret %q of %s: key %q holds no PEM certificate", ref.Name, field, git.KeyCA)
		}
		o.CA = pool
	}
	return forge.New(o)
}

// proposal is a commit that is to become a pull request, and why it is not simply pushed.
type proposal struct {
	base, commit, message, why string
}

// propose has people decide: the commit goes to a branch of its own, and a pull request asks for it. What people decided
// before stands. Trouble with the forge is an error, and tried again.
func (a access) propose(ctx context.Context, b branch, r request, f finding, p proposal) (finding, error) {
	if a.forgeProblem != nil {
		f.state, f.why = v1alpha1.RevertRejected, fmt.Sprintf("%s; a pull request is not possible: %v", p.why, a.forgeProblem)
		return f, nil
	}
	name := branchPrefix + r.id
	found, err := forge.Only(ctx, a.forge, name, a.write.Branch)
	if err != nil {
		return f, fmt.Errorf("%s; %w", p.why, err)
	}
	if found != nil {
		return told(f, name, found, p.why), nil
	}
	if err := a.pushAside(ctx, b, r, name, p); err != nil {
		var rejected *git.RejectedError
		if errors.As(err, &rejected) {
			f.state, f.why = v1alpha1.RevertRejected, fmt.Sprintf("%s; nor may branch %s be pushed: %s", p.why, name, rejected.Reason)
			return f, nil
		}
		return f, fmt.Errorf("%s; %w", p.why, err)
	}
	found, err = forge.Propose(ctx, a.forge, forge.Proposal{Branch: name, Base: a.write.Branch, Title: revert.Subject(p.message),
		Body: p.message[len(revert.Subject(p.message)):] + "\nBelay: " + p.why + ".\n"})
	if err != nil {
		return f, fmt.Errorf("%s; %w", p.why, err)
	}
	return told(f, name, found, p.why), nil
}

// pushAside makes the pull request's branch. One that is there from an earlier try is kept, if it is this revert.
func (a access) pushAside(ctx context.Context, b branch, r request, name string, p proposal) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	aside := a.write
	aside.Branch = name
	err := aside.Push(ctx, b.repo, "", p.commit)
	if !errors.Is(err, git.ErrStale) {
		return err
	}
	there, fetchErr := aside.Fetch(ctx, 1)
	if fetchErr != nil {
		return fmt.Errorf("looking at branch %s: %w", name, fetchErr)
	}
	tip, err := there.Commit(there.Head())
	if err != nil {
		return fmt.Errorf("looking at branch %s: %w", name, err)
	}
	if !r.made(tip) {
		return &git.RejectedError{Reason: fmt.Sprintf("it exists, and its commit %s is not this revert", short(tip.SHA))}
	}
	return nil
}

// told turns what a forge says of a pull request into a finding.
func told(f finding, branch string, p *forge.PullRequest, why string) finding {
	f.pull = &v1alpha1.PullRequest{Number: p.Number, URL: bound(p.URL, 2048), Branch: branch, State: v1alpha1.PullRequestState(p.State)}
	switch p.State {
	case forge.Merged:
		f.state, f.commit = v1alpha1.RevertPushed, p.Commit
		f.why = fmt.Sprintf("pull request %d was merged", p.Number)
	case forge.Closed:
		f.state = v1alpha1.RevertDeclined
		f.why = fmt.Sprintf("pull request %d was closed without a merge: that is respected, and the bad revision stays held back until Git says something else (%s)", p.Number, p.URL)
	default:
		f.state = v1alpha1.RevertProposed
		f.why = fmt.Sprintf("pull request %d waits for people: %s", p.Number, p.URL)
	}
	if why != "" && f.state != v1alpha1.RevertPushed {
		f.why += "; " + why
	}
	return f
}

func bound(text string, limit int) string {
	if len(text) > limit {
		return ""
	}
	return text
}

// decided asks the forge what people made of a pull request.
func (r *Reconciler) decided(ctx context.Context, repo *v1alpha1.Repository, due *v1alpha1.RevertStatus) (finding, error) {
	f, err := r.forge(ctx, repo)
	if err != nil {
		return finding{}, fmt.Errorf("pull request %d: %w", due.PullRequest.Number, err)
	}
	found, err := f.Get(ctx, due.PullRequest.Number)
	if err == nil && found.State == forge.Closed {
		found, err = forge.Find(ctx, f, due.PullRequest.Branch, repo.Spec.Ref.Branch) // a person may have opened another one
	}
	if err != nil || found == nil {
		return finding{}, err
	}
	return told(finding{}, due.PullRequest.Branch, found, ""), nil
}
