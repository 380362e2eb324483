package deliverypolicy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/policy"
)

// Reasons of the condition Ready.
const (
	ReasonCompiled = "Compiled"
	ReasonInvalid  = "ExpressionInvalid"
)

// maxMessage is how much of the compiler's message is kept.
const maxMessage = 2048

// Reconciler sets the condition Ready of policies of one kind.
type Reconciler struct {
	Client client.Client
	// Cluster: of ClusterDeliveryPolicies; otherwise of DeliveryPolicies.
	Cluster bool
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	name := "deliverypolicy"
	if r.Cluster {
		name = "clusterdeliverypolicy"
	}
	object, _, _ := r.empty()
	err := ctrl.NewControllerManagedBy(mgr).Named(name).
		For(object, builder.WithPredicates(predicate.GenerationChangedPredicate{})).Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the %s controller: %w", name, err)
	}
	return nil
}

func (r *Reconciler) empty() (client.Object, *v1alpha1.DeliveryPolicySpec, *v1alpha1.DeliveryPolicyStatus) {
	if r.Cluster {
		p := &v1alpha1.ClusterDeliveryPolicy{}
		return p, &p.Spec.DeliveryPolicySpec, &p.Status
	}
	p := &v1alpha1.DeliveryPolicy{}
	return p, &p.Spec, &p.Status
}

// Reconcile compiles one policy.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object, spec, status := r.empty()
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	base, ok := object.DeepCopyObject().(client.Object)
	if !ok || !object.GetDeletionTimestamp().IsZero() {
		return ctrl.Result{}, nil
	}
	before := status.DeepCopy()
	meta.SetStatusCondition(&status.Conditions, ready(spec.Expression, object.GetGeneration()))
	if equality.Semantic.DeepEqual(before, status) {
		return ctrl.Result{}, nil
	}
	if err := r.Client.Status().Patch(ctx, object, client.MergeFrom(base)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

func ready(expression string, generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonCompiled,
		Message: "the expression compiles", ObservedGeneration: generation}
	if err := policy.Compile(expression); err != nil {
		c.Status, c.Reason = metav1.ConditionFalse, ReasonInvalid
		c.Message = err.Error()[:min(len(err.Error()), maxMessage)]
	}
	return c
}
