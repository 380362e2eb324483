package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
)

// again is how soon a Rollout is looked at after something was written: what was written must first be seen.
const again = 50 * time.Millisecond

// Reconciler brings Rollouts forward, and back.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	Scheme *runtime.Scheme
	Clock  clock.PassiveClock
	// Recorder tells events.
	Recorder events.EventRecorder
	// Namespaces that the caches cover; none for all.
	Namespaces []string
	// Policies are the kinds of policies that may be attached to single rules of routes; none where that is not to be looked at.
	Policies []schema.GroupResource

	watches watches
}

// Options of the controller.
type Options struct {
	// MaxConcurrentReconciles is how many Rollouts are worked on at once. Default 8.
	MaxConcurrentReconciles int
}

// SetupWithManager registers the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, o Options) error {
	if o.MaxConcurrentReconciles == 0 {
		o.MaxConcurrentReconciles = 8
	}
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.Rollout{}, indexRoutes, routeKeys); err != nil {
		return fmt.Errorf("indexing Rollouts by route: %w", err)
	}
	built, err := ctrl.NewControllerManagedBy(mgr).Named("rollout").
		For(&v1alpha1.Rollout{}, builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&appsv1.ReplicaSet{}).
		Owns(&v1alpha1.AnalysisRun{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.rolloutOfPod)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsThat(usesDeployment))).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsThat(usesService))).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsThat(usesSlice))).
		Watches(&v1alpha1.AnalysisTemplate{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsThat(usesTemplate))).
		Watches(&v1alpha1.ClusterAnalysisTemplate{}, handler.EnqueueRequestsFromMapFunc(r.rolloutsThat(usesTemplate))).
		Watches(&v1alpha1.Decision{}, handler.EnqueueRequestsFromMapFunc(rolloutOfDecision)).
		WithOptions(controller.Options{MaxConcurrentReconciles: o.MaxConcurrentReconciles,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 15*time.Second)}).
		Build(r)
	if err != nil {
		return fmt.Errorf("setting up the Rollout controller: %w", err)
	}
	r.watches.controller, r.watches.cache = built, mgr.GetCache()
	return nil
}

// Reconcile looks at one Rollout once.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	rollout := &v1alpha1.Rollout{}
	if err := r.Reader.Get(ctx, req.NamespacedName, rollout); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	observed, err := r.gather(ctx, rollout)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("gathering: %w", err)
	}
	plan := planner.Make(observed)
	if plan.Doubtful {
		observed, plan = r.madeAgain(ctx, rollout, observed, plan)
	}
	work := &work{Reconciler: r, rollout: rollout, plan: plan, observed: observed}
	soon, err := work.carryOut(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: nextLook(observed.Now, plan.NextLook, soon)}, nil
}

// uncached reads pods and endpoints from the API server, and the rest as ever.
type uncached struct {
	client.Client
	reader client.Reader
}

func (u uncached) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	switch l.(type) {
	case *corev1.PodList, *discoveryv1.EndpointSliceList:
		return u.reader.List(ctx, l, opts...)
	}
	return u.Client.List(ctx, l, opts...)
}

// readsAgain is how often reading past the cache is tried before a plan stands as it was made.
const readsAgain = 5

// readAgainTimeout bounds all of them.
const readAgainTimeout = 5 * time.Second

// madeAgain makes a plan from the pods and endpoints that the API server has, instead of those that caches show. Where they
// cannot be read, the plan stands: going back is the safe side.
func (r *Reconciler) madeAgain(ctx context.Context, ro *v1alpha1.Rollout, observed planner.Observed, plan planner.Plan) (planner.Observed, planner.Plan) {
	live := &Reconciler{Client: uncached{r.Client, r.Reader}, Reader: r.Reader, Scheme: r.Scheme, Clock: r.Clock, Recorder: r.Recorder, Namespaces: r.Namespaces, Policies: r.Policies}
	reading, cancel := context.WithTimeout(ctx, readAgainTimeout)
	defer cancel()
	for range readsAgain {
		again, err := live.gather(reading, ro)
		if err == nil {
			return again, planner.Make(again)
		}
		ctrl.LoggerFrom(ctx).Error(err, "Reading past the cache before going back")
	}
	return observed, plan
}

func nextLook(now, next time.Time, soon bool) time.Duration {
	switch {
	case soon:
		return again
	case next.IsZero():
		return 0
	}
	return max(next.Sub(now), again)
}

// rolloutByName finds the Rollout by the name of the ReplicaSet that owns the pod: <rollout>-<revision>.
func rolloutByName(o client.Object) []reconcile.Request {
	revision := o.GetLabels()[v1alpha1.LabelRevision]
	for _, owner := range o.GetOwnerReferences() {
		if name, ok := strings.CutSuffix(owner.Name, "-"+revision); ok && owner.Kind == "ReplicaSet" && revision != "" {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
		}
	}
	return nil
}

func rolloutOfDecision(_ context.Context, o client.Object) []reconcile.Request {
	d, ok := o.(*v1alpha1.Decision)
	if !ok || d.Status.Result != "" || d.Spec.Subject.Kind != "Rollout" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: d.Namespace, Name: d.Spec.Subject.Name}}}
}

// rolloutsThat maps an object to the Rollouts of its namespace that use it.
func (r *Reconciler) rolloutsThat(use func(*v1alpha1.Rollout, client.Object) bool) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var list v1alpha1.RolloutList
		if err := r.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Listing Rollouts that use an object", "object", client.ObjectKeyFromObject(o))
			return nil
		}
		var out []reconcile.Request
		for i := range list.Items {
			if use(&list.Items[i], o) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
		return out
	}
}

func usesService(r *v1alpha1.Rollout, o client.Object) bool {
	return o.GetName() == r.Spec.Traffic.StableService || o.GetName() == canaryService(r)
}

func usesSlice(r *v1alpha1.Rollout, o client.Object) bool {
	name := o.GetLabels()[discoveryv1.LabelServiceName]
	return name == r.Spec.Traffic.StableService || name == canaryService(r)
}

func usesTemplate(r *v1alpha1.Rollout, o client.Object) bool {
	kind := v1alpha1.KindAnalysisTemplate
	if _, shared := o.(*v1alpha1.ClusterAnalysisTemplate); shared {
		kind = v1alpha1.KindClusterAnalysisTemplate
	}
	refs := references(r)
	if shareAt(r) >= 0 {
		refs = append(refs, withShare(r, 0))
	}
	for _, ref := range refs {
		if ref == nil {
			continue
		}
		for _, t := range ref.Templates {
			if t.Name == o.GetName() && t.Kind.Or() == kind {
				return true
			}
		}
	}
	return false
}

// canaryService is the name of the canary Service.
func canaryService(r *v1alpha1.Rollout) string {
	if n := r.Spec.Traffic.CanaryService; n != "" {
		return n
	}
	return r.Spec.Traffic.StableService + "-canary"
}

// errStale says that the Rollout changed after the plan was made.
var errStale = errors.New("the Rollout changed meanwhile")
