package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/gitops/window"
)

func short(commit string) string { return commit[:min(len(commit), 8)] }

// admit lets a plan through, or says what it waits for. What was let through once is finished, in however many rounds;
// putting drift right is no new bundle.
func (r *Reconciler) admit(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, p Plan, done *result) error {
	plan := p.Described
	if plan == nil || done.digest == sync.Status.AppliedDigest {
		return r.answerLate(ctx, sync, "")
	}
	if before := sync.Status.Plan; before != nil && before.AdmittedAt != nil && before.Bundle == plan.Bundle {
		return r.answerLate(ctx, sync, "")
	}
	done.plan = plan
	if sync.Status.Held != nil { // it was let through before, and a person wants it back: gates do not hold that up
		at := metav1.NewTime(r.now())
		plan.AdmittedAt = &at
		return r.answerLate(ctx, sync, "")
	}
	if err := r.dependencies(ctx, sync, done.commit); err != nil {
		return err
	}
	open, next, why, err := window.Open(sync.Spec.Gates.Windows, r.now())
	if err != nil {
		return &failure{reason: ReasonWaiting, stalled: true, message: err.Error(), cause: err}
	}
	waiting, err := r.approve(ctx, sync, repo, plan, done.commit)
	switch {
	case err != nil:
		return err
	case waiting != "":
		return &failure{reason: ReasonWaiting, message: waiting}
	case !open:
		done.wake = next
		until := "which will not be within a year"
		if !next.IsZero() {
			until = "next at " + next.UTC().Format(time.RFC3339)
		}
		return &failure{reason: ReasonWaiting, message: fmt.Sprintf("%s; it waits until changes may be made, %s", why, until)}
	}
	at := metav1.NewTime(r.now())
	plan.AdmittedAt = &at
	return nil
}

// approve counts the people who have approved a plan, answers their Decisions, and says what is missing.
func (r *Reconciler) approve(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, plan *v1alpha1.SyncPlan, commit string) (string, error) {
	decisions, err := r.decisionsOf(ctx, sync)
	if err != nil {
		return "", err
	}
	needed := approvalsNeeded(sync.Spec.Gates.Approvals, plan)
	var authors []string
	known := true
	if gate := sync.Spec.Gates.Approvals; gate != nil && gate.NotTheAuthor == v1alpha1.Enabled && needed > 0 && sync.Status.AppliedCommit != "" {
		if authors, known, err = r.authorsSince(ctx, repo, sync.Status.AppliedCommit, commit); err != nil {
			p := repository.Explain(err)
			return "", &failure{reason: ReasonFetchFailed, cause: err, message: fmt.Sprintf("Repository %q: reading who wrote commit %s: %s", repo.Name, commit, p.Error())}
		}
	}
	rejected := ""
	for i := range decisions {
		d := &decisions[i]
		refuse := unfit(d, plan.Digest, needed)
		if refuse == "" && d.Spec.Action == v1alpha1.ActionApprove {
			refuse = wrote(d.Spec.Actor, authors, known)
		}
		switch {
		case refuse != "":
		case d.Spec.Action == v1alpha1.ActionReject:
			rejected = fmt.Sprintf("%s has rejected plan %s: %s; another commit makes another plan", d.Spec.Actor, short(plan.Digest), cmp.Or(d.Spec.Reason, "no reason given"))
		case !slices.Contains(plan.ApprovedBy, d.Spec.Actor):
			plan.ApprovedBy = append(plan.ApprovedBy, d.Spec.Actor)
		}
		if err := r.answer(ctx, d, refuse); err != nil {
			return "", err
		}
	}
	slices.Sort(plan.ApprovedBy)
	plan.ApprovedBy = plan.ApprovedBy[:min(len(plan.ApprovedBy), 16)]
	if missing := needed - len(plan.ApprovedBy); rejected == "" && missing > 0 {
		return fmt.Sprintf("plan %s (risk %s) waits for %d more to approve it: kubectl belay approve sync/%s -n %s", short(plan.Digest), plan.Risk, missing, sync.Name, sync.Namespace), nil
	}
	return rejected, nil
}

func approvalsNeeded(gate *v1alpha1.ApprovalsGate, plan *v1alpha1.SyncPlan) int {
	needed := 0
	if len(plan.Approvals) > 0 {
		needed = 1
	}
	if gate != nil && (needed > 0 || rank[plan.Risk] >= rank[gate.WhenRisk]) {
		needed = max(int(gate.Required), 1)
	}
	return needed
}

// unfit says why a Decision cannot be about the plan.
func unfit(d *v1alpha1.Decision, digest string, needed int) string {
	switch {
	case d.Spec.Plan != digest:
		return fmt.Sprintf("plan %s is not the one that waits, which is %s", short(d.Spec.Plan), short(digest))
	case needed == 0 && d.Spec.Action == v1alpha1.ActionApprove:
		return "the plan needs no approval"
	}
	return ""
}

// wrote says why a person may not approve: they wrote it, or nobody knows who did.
func wrote(actor string, authors []string, known bool) string {
	if !known {
		return "who wrote the commits since the one applied is not known, and gates.approvals.notTheAuthor is Enabled"
	}
	if slices.ContainsFunc(authors, func(a string) bool { return planner.SamePerson(a, actor) }) {
		return fmt.Sprintf("%s wrote a part of it, and gates.approvals.notTheAuthor is Enabled: somebody else must decide (authors: %s)", actor, strings.Join(authors, ", "))
	}
	return ""
}

// decisionsOf are the Decisions about a Sync that were not refused, the oldest first.
func (r *Reconciler) decisionsOf(ctx context.Context, sync *v1alpha1.Sync) ([]v1alpha1.Decision, error) {
	var found v1alpha1.DecisionList
	if err := r.Client.List(ctx, &found, client.InNamespace(sync.Namespace)); err != nil {
		return nil, fmt.Errorf("listing Decisions: %w", err)
	}
	out := slices.DeleteFunc(found.Items, func(d v1alpha1.Decision) bool {
		return d.Spec.Subject.Kind != "Sync" || d.Spec.Subject.Name != sync.Name || d.Status.Result == v1alpha1.DecisionRefused || d.DeletionTimestamp != nil
	})
	slices.SortFunc(out, func(a, b v1alpha1.Decision) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// answerLate refuses what is asked while no plan waits.
func (r *Reconciler) answerLate(ctx context.Context, sync *v1alpha1.Sync, why string) error {
	decisions, err := r.decisionsOf(ctx, sync)
	if err != nil {
		return err
	}
	for i := range decisions {
		if decisions[i].Status.Result == "" {
			if err := r.answer(ctx, &decisions[i], cmp.Or(why, "no plan waits for a Decision")); err != nil {
				return err
			}
		}
	}
	return nil
}

// answer writes what came of a Decision, once.
func (r *Reconciler) answer(ctx context.Context, d *v1alpha1.Decision, refuse string) error {
	return r.answerWith(ctx, d, "counted", refuse)
}

func (r *Reconciler) answerWith(ctx context.Context, d *v1alpha1.Decision, said, refuse string) error {
	if d.Status.Result != "" {
		return nil
	}
	base := d.DeepCopy()
	at := metav1.NewTime(r.now())
	d.Status = v1alpha1.DecisionStatus{Result: v1alpha1.DecisionApplied, Message: said, At: &at}
	if refuse != "" {
		d.Status.Result, d.Status.Message = v1alpha1.DecisionRefused, cut(refuse, 1024)
	}
	if err := r.Client.Status().Patch(ctx, d, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("answering Decision %s: %w", d.Name, err)
	}
	return nil
}
