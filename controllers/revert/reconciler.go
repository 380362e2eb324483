package revert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
)

const (
	// tries is how often a race is run again before it is left for later.
	tries = 10
	// shortestPause and longestPause bound the pause between two tries.
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	// longestRetry is how long a Pending revert waits at most before it is tried again.
	longestRetry = 2 * time.Minute
	// perHour is how many reverts of a workload an hour has, where the Repository does not say.
	perHour = 3
	// watchEvery is how often the branch of a revert that waits for a person is looked at.
	watchEvery = 3 * time.Minute
)

// Reconciler reverts in Git what was rolled back in the cluster.
type Reconciler struct {
	// Client reads Rollouts and Repositories, from a cache if it likes, and writes their status and annotations.
	Client client.Client
	// Reader reads Rollouts past any cache.
	Reader   client.Reader
	Source   *repository.Source
	Recorder events.EventRecorder
	// Version of Belay, for the commit's trailers.
	Version string
	// Now is the clock; nil is the wall clock.
	Now func() time.Time
	// Pause waits between two tries of a lost race; nil waits a random time, longer after each.
	Pause func(ctx context.Context)

	writers writers
	looked  sync.Map // UID of a Rollout: what was looked for in vain, and where
}

// Reconcile does what is due for one Rollout: its revert, else the note of its good commit.
func (r *Reconciler) Reconcile(ctx context.Context, key ctrl.Request) (ctrl.Result, error) {
	var rollout v1alpha1.Rollout
	if err := r.Client.Get(ctx, key.NamespacedName, &rollout); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !rollout.DeletionTimestamp.IsZero() {
		r.looked.Delete(rollout.UID)
		return ctrl.Result{}, nil
	}
	if rollout.Spec.OnFailure.Revert == nil {
		return ctrl.Result{}, nil
	}
	if due := rollout.Status.Revert; due != nil {
		switch due.State {
		case v1alpha1.RevertPending, v1alpha1.RevertSuspended:
			return r.revert(ctx, &rollout, r.trouble)
		case v1alpha1.RevertConflict, v1alpha1.RevertRejected:
			switch {
			case r.changed(ctx, &rollout):
				return r.revert(ctx, &rollout, r.trouble)
			case r.dueAgain(due):
				return r.revert(ctx, &rollout, r.stillRefused)
			}
			return r.watch(ctx, &rollout)
		default:
			if waits(due.State) {
				return r.watch(ctx, &rollout)
			}
		}
	}
	return r.noteGood(ctx, &rollout)
}

// revert carries a revert out. Trouble is written down and tried again; it is never an error of this function.
func (r *Reconciler) revert(ctx context.Context, rollout *v1alpha1.Rollout,
	trouble func(context.Context, *v1alpha1.Rollout, error) (ctrl.Result, error)) (ctrl.Result, error) {
	repo, way, err := r.open(ctx, rollout, true)
	if err != nil {
		return trouble(ctx, rollout, err)
	}
	due, err := r.requestFor(ctx, rollout, repo)
	if err == nil {
		due.applied, err = r.applied(ctx, repo)
	}
	switch {
	case errors.Is(err, errNoTemplate):
		return r.settle(ctx, rollout, repo, due, conflict(finding{triedWith: way.with}, err.Error()))
	case err != nil:
		return trouble(ctx, rollout, err)
	}
	at := place{url: way.read.URL, branch: way.read.Branch, repository: string(repo.UID) + " " + client.ObjectKeyFromObject(repo).String()}
	found, err := r.write(ctx, at, way, due)
	if err != nil {
		if errors.Is(err, git.ErrAuth) && repo.Spec.Write.SecretRef == nil {
			err = fmt.Errorf("%w (Repository %q has no spec.write.secretRef)", err, repo.Name)
		}
		return trouble(ctx, rollout, err)
	}
	found.triedWith = way.with
	return r.settle(ctx, rollout, repo, due, found)
}

// settle writes a finding down and has the Repository look at its branch at once.
func (r *Reconciler) settle(ctx context.Context, rollout *v1alpha1.Rollout, repo *v1alpha1.Repository, due request, found finding) (ctrl.Result, error) {
	if err := r.report(ctx, rollout, due.id, found); err != nil {
		return ctrl.Result{}, err
	}
	if found.state == v1alpha1.RevertPushed {
		r.poke(ctx, repo, found.commit)
	}
	switch {
	case found.state == v1alpha1.RevertSuspended:
		return ctrl.Result{RequeueAfter: max(time.Second, min(watchEvery, found.until.Sub(r.now())))}, nil
	case waits(found.state):
		return ctrl.Result{RequeueAfter: r.untilNext(rollout)}, nil
	}
	return ctrl.Result{}, nil
}

// waits says that a state ends by what people do.
func waits(state v1alpha1.RevertState) bool {
	switch state {
	case v1alpha1.RevertConflict, v1alpha1.RevertRejected, v1alpha1.RevertProposed, v1alpha1.RevertDeclined:
		return true
	}
	return false
}

// watch looks whether people have solved what Belay could not, or decided what it proposed.
func (r *Reconciler) watch(ctx context.Context, rollout *v1alpha1.Rollout) (ctrl.Result, error) {
	repo, way, err := r.open(ctx, rollout, false)
	var due request
	if err == nil {
		due, err = r.requestFor(ctx, rollout, repo)
	}
	if err == nil {
		var found finding
		if found, err = r.progress(ctx, way, repo, rollout.Status.Revert, due); err == nil && found.state != "" {
			return r.settle(ctx, rollout, repo, due, found)
		}
	}
	if err != nil {
		log.FromContext(ctx).V(1).Info("the revert that waits for people could not be looked at", "error", err.Error())
	}
	return ctrl.Result{RequeueAfter: r.untilNext(rollout)}, nil
}

// progress is what has become of a revert that waits for people; a state of "" means nothing yet.
func (r *Reconciler) progress(ctx context.Context, way access, repo *v1alpha1.Repository, status *v1alpha1.RevertStatus, due request) (finding, error) {
	found, err := way.watch(ctx, due)
	if err != nil || status.PullRequest == nil {
		return found, err
	}
	decided, err := r.decided(ctx, repo, status)
	switch {
	case found.state == v1alpha1.RevertPushed: // merged by a rebase, the commit itself is on the branch
		found.pull = decided.pull
		return found, nil
	case err != nil && found.state != "":
		return found, nil // the branch says it, whatever became of the pull request
	case err != nil || decided.state == v1alpha1.RevertPushed || found.state == "":
		return decided, err
	}
	return found, nil
}

// looking is what was looked for in vain: a revision, up to a commit.
type looking struct{ revision, commit string }

// noteGood notes which commit the stable revision came from. What is not among the newest commits is looked for again
// when the branch has moved.
func (r *Reconciler) noteGood(ctx context.Context, rollout *v1alpha1.Rollout) (ctrl.Result, error) {
	stable := rollout.Status.Stable
	if stable == nil || stable.Revision == "" || stable.Commit != "" {
		r.looked.Delete(rollout.UID)
		return ctrl.Result{}, nil
	}
	repo, way, err := r.open(ctx, rollout, false)
	if err != nil || repo.Status.Commit == "" {
		return ctrl.Result{}, nil //nolint:nilerr // the Repository's own condition says it; its next commit brings us back
	}
	now := looking{revision: stable.Revision, commit: repo.Status.Commit}
	if before, known := r.looked.Load(rollout.UID); known && before == now {
		return ctrl.Result{}, nil
	}
	where, err := r.whereOf(ctx, rollout, stable.Revision)
	var commit string
	if err == nil {
		commit, err = way.known(ctx, request{where: where, good: stable.Revision})
	}
	if err != nil {
		log.FromContext(ctx).V(1).Info("good commit could not be looked for", "error", err.Error())
		return ctrl.Result{RequeueAfter: longestRetry}, nil
	}
	if commit == "" {
		log.FromContext(ctx).V(1).Info("good commit is not among the newest", "commits", depths[0], "revision", stable.Revision)
		r.looked.Store(rollout.UID, now)
		if where.Path == "" { // said while all is well, not when the revert is needed
			r.Recorder.Eventf(rollout, nil, corev1.EventTypeWarning, ReasonValuesUnknown, "Revert",
				"none of the newest %d commits of Repository %q has the values of the stable revision %s: is the mapping in onFailure.revert.values right?",
				depths[0], repo.Name, stable.Revision)
		}
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.writeGood(ctx, rollout, commit)
}

// open finds the way to the branch that declares a Rollout.
func (r *Reconciler) open(ctx context.Context, rollout *v1alpha1.Rollout, write bool) (*v1alpha1.Repository, access, error) {
	var repo v1alpha1.Repository
	name := rollout.Spec.OnFailure.Revert.Repository
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: rollout.Namespace, Name: name}, &repo)
	switch {
	case apierrors.IsNotFound(err):
		return nil, access{}, fmt.Errorf("Repository %q does not exist", name)
	case err != nil:
		return nil, access{}, fmt.Errorf("reading Repository %q: %w", name, err)
	case write && repo.Spec.Write == nil:
		return nil, access{}, fmt.Errorf("Repository %q may not be written to: spec.write is not set", name)
	}
	way := access{source: r.Source, timeout: repository.Timeout(&repo)}
	if way.read, err = r.Source.Remote(ctx, &repo, repo.Spec.SecretRef); err != nil {
		return nil, access{}, fmt.Errorf("Repository %q: %w", name, err)
	}
	if write {
		if way.with, err = r.writtenWith(ctx, &repo); err != nil { // before they are read: a change meanwhile is one since
			return nil, access{}, fmt.Errorf("Repository %q: %w", name, err)
		}
		way.accepts = func(ctx context.Context, head string) error { return r.Source.Accepts(ctx, r.Client, &repo, head) }
		if way.write, err = r.Source.Remote(ctx, &repo, repo.Spec.Write.SecretRef); err != nil {
			return nil, access{}, fmt.Errorf("Repository %q, spec.write: %w", name, err)
		}
		if way.sign, err = r.signer(ctx, &repo); err != nil {
			return nil, access{}, fmt.Errorf("Repository %q: %w", name, err)
		}
		if way.strategy = strategyOf(rollout, &repo); way.strategy != v1alpha1.StrategyPush {
			if way.forge, err = r.forge(ctx, &repo); err != nil {
				way.forgeProblem = fmt.Errorf("Repository %q: %w", name, err)
			}
		}
	}
	return &repo, way, nil
}

// requestFor reads the revert out of what was stored.
func (r *Reconciler) requestFor(ctx context.Context, rollout *v1alpha1.Rollout, repo *v1alpha1.Repository) (request, error) {
	due := rollout.Status.Revert
	id := due.ID
	if id == "" {
		id = revert.ID(revert.Failure{RepositoryURL: repo.Spec.URL, Branch: repo.Spec.Ref.Branch, WorkloadUID: string(rollout.UID),
			Attempt: due.Attempt, Bad: due.Bad, Good: due.Good})
	}
	out := request{
		id: id, attempt: due.Attempt, bad: due.Bad, good: due.Good, at: due.RequestedAt.Time,
	}
	var err error
	if out.where, err = r.whereOf(ctx, rollout, due.Bad, due.Good); err != nil {
		return out, err
	}
	if write := repo.Spec.Write; write != nil {
		out.author, out.perHour, out.now = write.Author, perHour, r.now()
		if write.MaxRevertsPerHour != nil {
			out.perHour = int(*write.MaxRevertsPerHour)
		}
	}
	if stable := rollout.Status.Stable; stable != nil && stable.Revision == due.Good {
		out.hint = stable.Commit
	}
	out.message = messageFor(rollout, r.Version)
	out.message.ID = id
	if write := repo.Spec.Write; write != nil && write.SignOff == v1alpha1.Enabled {
		out.message.SignOff = fmt.Sprintf("%s <%s>", write.Author.Name, write.Author.Email)
	}
	out.message.Environment, err = r.environmentOf(ctx, rollout)
	return out, err
}

func workloadOf(rollout *v1alpha1.Rollout) revert.Workload {
	return revert.Workload{Namespace: rollout.Namespace, Kind: "Rollout", Name: rollout.Name}
}

// environmentOf is the environment of the Sync that applied a Rollout, "" where none did, or it does not say. It need not be in the
// Rollout's namespace, nor in one that this manager sees.
func (r *Reconciler) environmentOf(ctx context.Context, rollout *v1alpha1.Rollout) (string, error) {
	name := rollout.Labels[v1alpha1.LabelSync]
	if name == "" {
		return "", nil
	}
	var syncs v1alpha1.SyncList
	if err := r.Client.List(ctx, &syncs); err != nil {
		return "", fmt.Errorf("looking for Sync %q: %w", name, err)
	}
	namespace := cmp.Or(rollout.Labels[v1alpha1.LabelSyncNamespace], rollout.Namespace)
	for i := range syncs.Items {
		if s := &syncs.Items[i]; s.Name == name && s.Namespace == namespace {
			return s.Spec.Environment, nil
		}
	}
	return "", nil
}

// messageFor takes reason and evidence from the attempt, or from the history once the attempt is over.
func messageFor(rollout *v1alpha1.Rollout, version string) revert.MessageInput {
	status := &rollout.Status
	m := revert.MessageInput{
		Workload: workloadOf(rollout), BadRevision: status.Revert.Bad, GoodRevision: status.Revert.Good,
		Attempt: status.Revert.Attempt, Actor: "belay", ControllerVersion: version,
	}
	if by := status.Revert.RequestedBy; by != nil {
		m.Reason, m.Actor, m.Explanation = "Manual", by.Name, "Undone by "+by.Name+": "+cmp.Or(by.Reason, "no reason given")
		return m
	}
	if attempt := status.Attempt; attempt != nil && attempt.Number == m.Attempt && attempt.Verdict != nil {
		v := attempt.Verdict
		m.Reason, m.Explanation, m.Actor = v.Reason, v.Message, v.Actor
		if v.Metric != "" {
			m.Metrics = []string{v.Metric + "=" + v.Value}
		}
		m.Run, m.Policy = runOf(rollout, v.Run), revert.PolicyIn(v.Message)
		return m
	}
	for _, record := range status.History {
		if record.Number == m.Attempt {
			m.Reason, m.Explanation, m.Run, m.Policy = record.Reason, record.Message, runOf(rollout, record.Run), revert.PolicyIn(record.Message)
			if record.Metric != "" {
				m.Metrics = []string{record.Metric + "=" + record.Value}
			}
			if record.Actor != "" {
				m.Actor = record.Actor
			}
		}
	}
	return m
}

func runOf(rollout *v1alpha1.Rollout, name string) string {
	if name == "" {
		return ""
	}
	return rollout.Namespace + "/" + name
}

// poke has the Repository look at once. If that fails, its interval does the same later.
func (r *Reconciler) poke(ctx context.Context, repo *v1alpha1.Repository, commit string) {
	if repo.Status.Commit == commit || repo.Annotations[v1alpha1.AnnotationReconcile] == commit {
		return
	}
	base := repo.DeepCopy()
	if repo.Annotations == nil {
		repo.Annotations = map[string]string{}
	}
	repo.Annotations[v1alpha1.AnnotationReconcile] = commit
	if err := r.Client.Patch(ctx, repo, client.MergeFrom(base)); err != nil {
		r.Recorder.Eventf(repo, nil, corev1.EventTypeWarning, ReasonPokeFailed, "Revert", "%s", cut(err.Error(), noteBytes))
	}
}

// pause waits before another try: a random time, of up to twice as much after every try.
func (r *Reconciler) pause(ctx context.Context, try int) {
	if r.Pause != nil {
		r.Pause(ctx)
		return
	}
	limit := min(longestPause, shortestPause<<try)
	timer := time.NewTimer(shortestPause + rand.N(limit)) //nolint:gosec // spreads load, guards nothing
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
