package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/policy"
)

const kindClusterPolicy = "ClusterDeliveryPolicy"

// rules are the policies that bind a Sync: those it names, and those that bind every Sync.
type rules struct {
	all []policy.Rule
	// version changes when any of them does.
	version string
}

func (r *Reconciler) rulesOf(ctx context.Context, sync *v1alpha1.Sync) (rules, error) {
	var wide v1alpha1.ClusterDeliveryPolicyList
	if err := r.Client.List(ctx, &wide); err != nil {
		return rules{}, fmt.Errorf("listing ClusterDeliveryPolicies: %w", err)
	}
	var found rules
	add := func(kind string, object client.Object, spec v1alpha1.DeliveryPolicySpec) {
		found.all = append(found.all, policy.Rule{Name: kind + " " + object.GetName(), Spec: spec})
		found.version += fmt.Sprintf("%s/%d ", object.GetUID(), object.GetGeneration())
	}
	slices.SortFunc(wide.Items, func(a, b v1alpha1.ClusterDeliveryPolicy) int { return strings.Compare(a.Name, b.Name) })
	named := map[string]bool{}
	for _, reference := range sync.Spec.Policies {
		named[reference.Kind+" "+reference.Name] = true
	}
	for i := range wide.Items {
		p := &wide.Items[i]
		asked := named[kindClusterPolicy+" "+p.Name]
		delete(named, kindClusterPolicy+" "+p.Name)
		if asked || p.Spec.Enforcement == v1alpha1.EnforceAlways {
			add(kindClusterPolicy, p, p.Spec.DeliveryPolicySpec)
		}
	}
	for _, reference := range sync.Spec.Policies {
		kind := cmp.Or(reference.Kind, "DeliveryPolicy")
		if kind == kindClusterPolicy {
			if named[kind+" "+reference.Name] {
				return rules{}, policyNotFound(kind, reference.Name)
			}
			continue
		}
		p := &v1alpha1.DeliveryPolicy{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: sync.Namespace, Name: reference.Name}, p)
		if apierrors.IsNotFound(err) {
			return rules{}, policyNotFound(kind, reference.Name)
		}
		if err != nil {
			return rules{}, fmt.Errorf("reading DeliveryPolicy %s: %w", reference.Name, err)
		}
		add(kind, p, p.Spec)
	}
	return found, nil
}

func policyNotFound(kind, name string) error {
	return &failure{reason: ReasonPolicyNotFound, stalled: true, message: fmt.Sprintf("%s %q of spec.policies does not exist: nothing is changed without it", kind, name)}
}

// checkPolicies judges the whole bundle. A rule that asks for an approval gives the sentence that says why.
func checkPolicies(ctx context.Context, sync *v1alpha1.Sync, commit map[string]string, items []*Item, found rules) ([]policy.Finding, error) {
	if len(found.all) == 0 {
		return nil, nil
	}
	bundle := policy.Bundle{Commit: commit, Environment: sync.Spec.Environment}
	for _, item := range items {
		bundle.Objects = append(bundle.Objects, policy.Object{New: item.object(), Old: item.Live})
	}
	findings, err := policy.Evaluate(ctx, bundle, found.all)
	if err != nil && ctx.Err() == nil {
		return nil, &failure{reason: ReasonPolicyInvalid, stalled: true, cause: err, message: "nothing is changed: " + err.Error()}
	}
	return findings, err
}

// enforce turns findings into faults and warnings; what it returns needs an approval.
func enforce(findings []policy.Finding, items []*Item, w *warnings) (approve, denied []string) {
	for _, f := range findings {
		if f.Object >= 0 && items[f.Object].Keeper != "" {
			continue
		}
		text := f.Text
		if f.Object >= 0 {
			text = fmt.Sprintf("%s (%s): %s", name(items[f.Object].Entry), items[f.Object].File, f.Text)
		}
		switch {
		case f.Severity == v1alpha1.SeverityWarn:
			w.add(text)
		case f.Severity == v1alpha1.SeverityRequireApproval:
			approve = append(approve, text)
		case f.Object < 0:
			denied = append(denied, text)
		default:
			items[f.Object].say(v1alpha1.CheckDeny, f.Text, w)
		}
	}
	return approve, denied
}

// syncsUnder are the Syncs that a policy may bind.
func (r *Reconciler) syncsUnder(ctx context.Context, p client.Object) []reconcile.Request {
	var syncs v1alpha1.SyncList
	if err := r.Client.List(ctx, &syncs, client.InNamespace(p.GetNamespace())); err != nil {
		return nil // a cache that cannot be read is a process that is ending
	}
	wide, isWide := p.(*v1alpha1.ClusterDeliveryPolicy)
	var requests []reconcile.Request
	for i := range syncs.Items {
		s := &syncs.Items[i]
		names := slices.ContainsFunc(s.Spec.Policies, func(ref v1alpha1.PolicyReference) bool {
			return ref.Name == p.GetName() && (ref.Kind == kindClusterPolicy) == isWide
		})
		if names || isWide && wide.Spec.Enforcement == v1alpha1.EnforceAlways {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return requests
}
