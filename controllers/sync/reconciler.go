package sync

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	stdsync "sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/registry"
	"github.com/belay-delivery/belay/gitops/render"
)

// Reconciler applies Syncs.
type Reconciler struct {
	// Client reads and writes Syncs and Repositories only.
	Client client.Client
	// Reader reads Namespaces and Secrets past any cache.
	Reader client.Reader
	// Registries are asked for signatures of images.
	Registries registry.Client
	// Config is impersonated from: objects are read and written as the Sync's ServiceAccount.
	Config   *rest.Config
	Source   *repository.Source
	Recorder events.EventRecorder
	// Drift notices changes of the objects; nil: they are compared in intervals alone.
	Drift *drift.Tracker
	// Bundles keeps what is applied in the cluster; nil: nothing is kept.
	Bundles *Shelf
	// Now is the clock; nil is the wall clock.
	Now func() time.Time

	accounts accounts
	bundles  bundles
	suspects suspects
	approved stdsync.Map // UID of a Sync: the digests of its drifts that people let through
	checked  stdsync.Map // UID of a Sync: a look at its objects
	stood    stdsync.Map // UID of a Sync that waits or fails: when all of what is applied was compared
	heads    stdsync.Map // UID of a Sync that is held: the head that was looked at
	vitals   stdsync.Map // UID of a Sync: its vitals
}

// look is when a Sync's objects were last compared with Git, with success, and under which policies.
type look struct {
	at    time.Time
	rules string
}

// Options are the settings of the controller.
type Options struct {
	// MaxConcurrent is how many Syncs are reconciled at once. Default 4.
	MaxConcurrent int
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, options Options) error {
	if err := r.setupDrift(mgr); err != nil {
		return err
	}
	if r.Bundles != nil {
		if err := mgr.Add(r.Bundles); err != nil {
			return fmt.Errorf("setting up the sync controller: %w", err)
		}
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("sync").
		WatchesRawSource(r.suspicions()).
		For(&v1alpha1.Sync{}, builder.WithPredicates(repository.Asked())).
		Watches(&v1alpha1.Repository{}, handler.EnqueueRequestsFromMapFunc(r.syncsOf), builder.WithPredicates(moved())).
		Watches(&v1alpha1.DeliveryPolicy{}, handler.EnqueueRequestsFromMapFunc(r.syncsUnder), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ClusterDeliveryPolicy{}, handler.EnqueueRequestsFromMapFunc(r.syncsUnder), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Decision{}, handler.EnqueueRequestsFromMapFunc(syncOfDecision)).
		Watches(&v1alpha1.Sync{}, handler.EnqueueRequestsFromMapFunc(r.syncsAfter), builder.WithPredicates(progressed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(options.MaxConcurrent, 4)}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the sync controller: %w", err)
	}
	return nil
}

// moved lets pass a Repository that appears, whose branch moved, or that is read in another way.
func moved() predicate.Predicate {
	return predicate.Funcs{
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.Repository)
			after, both := e.ObjectNew.(*v1alpha1.Repository)
			return ok && both && (before.Status.Commit != after.Status.Commit || before.Generation != after.Generation)
		},
	}
}

func (r *Reconciler) syncsOf(ctx context.Context, repo client.Object) []reconcile.Request {
	var syncs v1alpha1.SyncList
	if err := r.Client.List(ctx, &syncs, client.InNamespace(repo.GetNamespace())); err != nil {
		return nil // a cache that cannot be read is a process that is ending
	}
	var requests []reconcile.Request
	for i := range syncs.Items {
		if syncs.Items[i].Spec.Repository == repo.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&syncs.Items[i])})
		}
	}
	return requests
}

// Reconcile brings one Sync's objects to what Git says.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var sync v1alpha1.Sync
	if err := r.Client.Get(ctx, request.NamespacedName, &sync); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, r.forgetKey(ctx, request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !sync.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, &sync)
	}
	if err := r.ensureFinalizer(ctx, &sync); err != nil {
		return ctrl.Result{}, err
	}
	if sync.Spec.Suspend {
		var done result
		if lost := r.lookAfter(ctx, &sync, &done); lost != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(lost, "The health of what is applied is not known")
		}
		return r.report(ctx, &sync, done, &failure{reason: ReasonSuspended, message: "suspended: nothing is written"})
	}
	if err := r.approvals(ctx, &sync); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.holds(ctx, &sync); err != nil {
		return ctrl.Result{}, err
	}
	done, err := r.bring(ctx, &sync)
	if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
		if lost := r.standBy(ctx, &sync, &done); lost != nil {
			ctrl.LoggerFrom(ctx).Error(lost, "What is applied could not be compared with Git meanwhile")
		}
	}
	return r.report(ctx, &sync, done, err)
}

// ensureFinalizer keeps the finalizer exactly while there would be something to prune.
func (r *Reconciler) ensureFinalizer(ctx context.Context, sync *v1alpha1.Sync) error {
	base := sync.DeepCopy()
	change := controllerutil.RemoveFinalizer
	if sync.Spec.Prune == v1alpha1.PruneEnabled {
		change = controllerutil.AddFinalizer
	}
	if !change(sync, v1alpha1.FinalizerPrune) {
		return nil
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, sync, patch); err != nil {
		return fmt.Errorf("writing finalizer: %w", err)
	}
	return nil
}

// bring does one round: gather, plan, apply.
func (r *Reconciler) bring(ctx context.Context, sync *v1alpha1.Sync) (result, error) {
	repo, err := r.repositoryOf(ctx, sync)
	if err != nil {
		return result{}, err
	}
	done := result{digest: sync.Status.AppliedDigest}
	if err := r.converge(ctx, sync, repo); err != nil {
		return done, err
	}
	if err := r.choose(ctx, sync, repo, &done); err != nil {
		return done, err
	}
	policies, err := r.rulesOf(ctx, sync)
	if err != nil {
		return done, err
	}
	done.rules = policies.version
	fresh := r.fresh(sync, policies)
	if fresh && sync.Status.AppliedCommit == done.commit {
		return r.rest(ctx, sync, repo, done)
	}
	objects, err := r.contents(ctx, sync, repo, done.commit)
	if err != nil {
		return done, err
	}
	done.digest = render.Digest(objects)
	if fresh && done.digest == sync.Status.AppliedDigest {
		return r.rest(ctx, sync, repo, done) // another commit with the same content
	}
	cluster, err := r.tenantOf(sync)
	if err != nil {
		return done, err
	}
	done.tried = true
	bundle := observedBundle{commit: done.commit, digest: done.digest, objects: objects, policies: policies, repo: repo, seen: &done}
	plan, err := r.examine(ctx, sync, cluster, bundle)
	done.warnings, done.examined, done.observed = plan.Warnings, err == nil || plan.Refused != nil, plan.Observed
	if err != nil {
		return done, err
	}
	if err := r.admit(ctx, sync, repo, plan, &done); err != nil {
		return done, err
	}
	if err := r.nameAuthors(ctx, sync, repo, done.commit, plan); err != nil {
		return done, err
	}
	if err := r.shelve(ctx, sync, bundle, &done); err != nil {
		return done, err
	}
	if err := r.settle(ctx, sync, &plan, &done); err != nil {
		return done, err
	}
	err = r.carryOut(ctx, sync, cluster, plan, &done)
	if done.checked = err == nil; done.checked {
		done.health = r.judge(sync, plan.items)
		r.bundles.put(bundleKey(sync, repo, done.commit), objects)
		r.verified(sync, plan.items, done.drift)
	}
	return done, err
}

// rest is a round in which nothing new is to be applied.
func (r *Reconciler) rest(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, done result) (result, error) {
	if err := r.answerLate(ctx, sync, ""); err != nil {
		return done, err
	}
	done, err := r.checkDrift(ctx, sync, repo, done)
	if err != nil {
		return done, err
	}
	err = r.lookAfter(ctx, sync, &done)
	return done, err
}

func (r *Reconciler) repositoryOf(ctx context.Context, sync *v1alpha1.Sync) (*v1alpha1.Repository, error) {
	var repo v1alpha1.Repository
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: sync.Namespace, Name: sync.Spec.Repository}, &repo)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &failure{reason: ReasonRepositoryNotFound, stalled: true,
			message: fmt.Sprintf("Repository %q does not exist in this namespace", sync.Spec.Repository)}
	case err != nil:
		return nil, fmt.Errorf("reading Repository %q: %w", sync.Spec.Repository, err)
	case repo.Status.Commit != "":
		return &repo, nil
	}
	message := fmt.Sprintf("Repository %q has not been read yet", repo.Name)
	if ready := v1alpha1.FindCondition(repo.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		message = fmt.Sprintf("Repository %q is not ready: %s", repo.Name, ready.Message)
	}
	return nil, &failure{reason: ReasonRepositoryNotReady, message: message}
}

// fresh says that the objects were compared with Git within the interval, with success, for this very spec and under these
// very policies.
func (r *Reconciler) fresh(sync *v1alpha1.Sync, policies rules) bool {
	ready := v1alpha1.FindCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == "True" && ready.ObservedGeneration == sync.Generation &&
		sync.Status.Reconciled == sync.Annotations[v1alpha1.AnnotationReconcile] &&
		r.lookAt(sync).rules == policies.version && r.sinceCheck(sync) < r.interval(sync)
}

// sinceCheck is how long ago the objects were compared; after a restart, long ago.
func (r *Reconciler) sinceCheck(sync *v1alpha1.Sync) time.Duration {
	last := r.lookAt(sync)
	if last.at.IsZero() {
		return 24 * time.Hour * 365
	}
	return r.now().Sub(last.at)
}

func (r *Reconciler) lookAt(sync *v1alpha1.Sync) look {
	stored, _ := r.checked.Load(sync.UID)
	last, _ := stored.(look)
	return last
}

func (r *Reconciler) tenantOf(sync *v1alpha1.Sync) (tenant, error) {
	account := client.ObjectKey{Namespace: sync.Namespace, Name: sync.Spec.ServiceAccountName}
	as, err := r.accounts.as(r.Config, r.Client.RESTMapper(), account)
	sole := func(ctx context.Context, e v1alpha1.InventoryEntry) (bool, error) { return r.sole(ctx, sync, e) }
	return tenant{client: as, of: client.ObjectKeyFromObject(sync), sole: sole, account: "ServiceAccount " + account.Name}, err
}

// observedBundle is a rendered folder and the commit it is of.
type observedBundle struct {
	commit  string
	digest  string
	objects []render.Object
	// policies that the bundle is judged by.
	policies rules
	repo     *v1alpha1.Repository
	// seen takes up what was found out on the way, whatever comes of it.
	seen *result
}

// source is what policies are told of where the bundle comes from.
func (b observedBundle) source() map[string]string {
	return map[string]string{"sha": b.commit, "branch": b.repo.Spec.Ref.Branch, "repository": b.repo.Name}
}

func (r *Reconciler) examine(ctx context.Context, sync *v1alpha1.Sync, cluster tenant, bundle observedBundle) (Plan, error) {
	items, err := prepare(sync, bundle.objects, r.namespaced)
	if err != nil {
		return Plan{}, err
	}
	if err := r.markApplied(ctx, sync, bundle, items); err != nil {
		return Plan{}, err
	}
	var told warnings
	ctx = collecting(ctx, &told)
	for _, item := range items {
		item.Ignore = ignoreRules(sync)
		item.Keep = item.Applied && !corrects(sync)
		if err := cluster.examine(ctx, item); err != nil {
			return Plan{}, err
		}
		if by := left(sync, item); by != "" {
			item.leave(by)
		}
		if item.Unknown != "" {
			told.add(fmt.Sprintf("PolicyUnknown: %s: %s", name(item.Entry), item.Unknown))
		}
	}
	if err := r.checkOffline(ctx, cluster, items); err != nil {
		return Plan{}, err
	}
	if err := r.checkWhole(ctx, sync, cluster, items, &told); err != nil {
		return Plan{}, err
	}
	if bundle.seen.signatures, err = r.checkSignatures(ctx, sync, items, &told); err != nil {
		return Plan{}, err
	}
	findings, err := checkPolicies(ctx, sync, bundle.source(), items, bundle.policies)
	if err != nil {
		return Plan{}, err
	}
	approve, denied := enforce(findings, items, &told)
	plan := MakePlan(sync, bundle.commit, items)
	if plan.Observed, err = observed(items); err != nil {
		return Plan{}, err
	}
	if len(denied) > 0 && plan.Refused == nil {
		plan = Plan{Observed: plan.Observed, Refused: &failure{reason: ReasonDenied, stalled: true, message: "nothing was changed: " + strings.Join(denied, "; ")}}
	}
	if plan.Refused == nil && plan.changes() {
		plan.Described = describe(plan, bundle.commit, bundle.digest, len(items), approve)
	}
	plan.Warnings = told.list()
	plan.items = items
	if plan.Refused != nil {
		return plan, plan.Refused
	}
	return plan, nil
}

func (r *Reconciler) namespaced(kind schema.GroupKind) (bool, error) {
	mapping, err := r.Client.RESTMapper().RESTMapping(kind)
	if err != nil {
		return false, err
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// carryOut does what the plan says, in its order; what fails holds up only what needs it, and all pruning. done says how far
// it came.
func (r *Reconciler) carryOut(ctx context.Context, sync *v1alpha1.Sync, cluster tenant, plan Plan, done *result) error {
	if err := r.writeIntent(ctx, sync, plan.Inventory, done); err != nil {
		return err
	}
	lost := newWreck(plan)
	for level, items := range plan.Apply {
		if err := lost.applyStage(ctx, cluster, items, done); err != nil {
			return err
		}
		if level == stageCRD && plan.Define && lost.failure() == nil {
			if err := cluster.established(ctx, items); err != nil {
				return &failure{reason: ReasonApplyFailed, message: err.Error(), cause: err}
			}
		}
	}
	if err := lost.failure(); err != nil {
		return err // nothing is removed after a failure
	}
	for _, entry := range plan.Prune {
		gone, err := cluster.prune(ctx, entry)
		if err != nil {
			return &failure{reason: ReasonPruneFailed, message: err.Error(), cause: err}
		}
		if gone {
			done.pruned = append(done.pruned, name(entry))
		}
	}
	return r.writeInventory(ctx, sync, plan.Final)
}

func fetchFailed(repo *v1alpha1.Repository, err error) error {
	p := repository.Explain(err)
	return &failure{reason: ReasonFetchFailed, message: fmt.Sprintf("Repository %q: %s", repo.Name, p.Error()), cause: err}
}

func applyFailed(item *Item, err error) error {
	return &failure{reason: ReasonApplyFailed, cause: err,
		message: fmt.Sprintf("applying %s (%s): %v", name(item.Entry), item.File, err)}
}

// writeIntent writes what will be there, the plan that was let through, and the images that were verified, before anything is applied.
func (r *Reconciler) writeIntent(ctx context.Context, sync *v1alpha1.Sync, inventory []v1alpha1.InventoryEntry, done *result) error {
	next := sync.Status.DeepCopy()
	next.Inventory = inventory
	if done.plan != nil {
		next.Plan = done.plan
	}
	if begun(next) {
		replaced(next, healthOf(next), metav1.NewTime(r.now()))
	}
	r.reportSignatures(sync, next, done.signatures)
	return r.writeStatus(ctx, sync, next)
}

// writeInventory writes the inventory where it is not already that.
func (r *Reconciler) writeInventory(ctx context.Context, sync *v1alpha1.Sync, inventory []v1alpha1.InventoryEntry) error {
	next := sync.Status.DeepCopy()
	next.Inventory = inventory
	return r.writeStatus(ctx, sync, next)
}

func (r *Reconciler) forget(uid types.UID) {
	r.checked.Delete(uid)
	r.stood.Delete(uid)
	r.heads.Delete(uid)
	r.vitals.Delete(uid)
	r.forgetDrift(uid)
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
