package sync

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// policy creates a DeliveryPolicy and names it in the Sync.
func (w *world) policy(name string, spec v1alpha1.DeliveryPolicySpec) {
	w.Helper()
	w.create(&v1alpha1.DeliveryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: name}, Spec: spec})
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Policies = append(s.Spec.Policies, v1alpha1.PolicyReference{Kind: "DeliveryPolicy", Name: name})
	})
}

func TestG34_ADenialShowsTheRationale(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1"), "apps/b.yaml": configMap("b", "2")}, "configmaps")
	w.policy("odd", v1alpha1.DeliveryPolicySpec{Match: v1alpha1.PolicyMatch{Kinds: []string{"ConfigMap"}}, Expression: "int(object.data.key) % 2 == 1",
		Message: "only odd values", Rationale: "even ones broke us in 2019; take the next odd one"})
	s := w.reconcile()
	expect(t, s, "False/Denied", "ConfigMap "+w.env.Namespace+"/b (apps/b.yaml): DeliveryPolicy odd: only odd values (why: even ones broke us in 2019; take the next odd one)")
	w.nothing(s)
	w.commit(map[string]string{"apps/b.yaml": configMap("b", "3")})
	expect(t, w.reconcile(), "True/Applied")
}

func TestG03_PoliciesSeeWhatTheAPIServerWouldStore(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/web.yaml": deploy("web", "i", "")}, "deployments.apps")
	w.edit(func(s *v1alpha1.Sync) { s.Spec.Environment = "prod" })
	// Git does not say it: the API server's default does.
	w.policy("surge", v1alpha1.DeliveryPolicySpec{Expression: "environment == 'prod' && object.spec.strategy.rollingUpdate.maxSurge == '25%' && commit.branch == 'main'", Message: "m", Rationale: "r"})
	expect(t, w.reconcile(), "True/Applied")
	w.policy("once", v1alpha1.DeliveryPolicySpec{Expression: "oldObject == null", Message: "nothing is changed twice", Rationale: "r"})
	expect(t, w.reconcile(), "False/Denied", "nothing is changed twice")
}

func TestG03_APolicyThatIsMissingOrBrokenStopsTheSync(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.edit(func(s *v1alpha1.Sync) {
		s.Spec.Policies = []v1alpha1.PolicyReference{{Kind: "DeliveryPolicy", Name: "lost"}}
	})
	s := w.reconcile()
	expect(t, s, "False/PolicyNotFound", `DeliveryPolicy "lost"`)
	w.nothing(s)
	w.create(&v1alpha1.DeliveryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.env.Namespace, Name: "lost"},
		Spec: v1alpha1.DeliveryPolicySpec{Expression: "objekt == 1", Message: "m", Rationale: "r"}})
	s = w.reconcile()
	expect(t, s, "False/PolicyInvalid", "DeliveryPolicy lost", "undeclared reference to 'objekt'")
	w.nothing(s)
}

func TestG12_ABaselineIsRequiredOfTheBundleAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	w.policy("baseline", v1alpha1.DeliveryPolicySpec{Target: v1alpha1.TargetBundle, Expression: "bundle.exists(o, o.metadata.name == 'base')", Message: "the baseline is gone", Rationale: "r"})
	s := w.reconcile()
	expect(t, s, "False/Denied", "DeliveryPolicy baseline: the baseline is gone")
	w.nothing(s)
	w.commit(map[string]string{"apps/base.yaml": configMap("base", "1")})
	expect(t, w.reconcile(), "True/Applied")
}

func TestG27_AClusterPolicyBindsWhateverASyncNames(t *testing.T) {
	w := newWorld(t)
	w.start(v1alpha1.PruneEnabled, map[string]string{"apps/a.yaml": configMap("a", "1")}, "configmaps")
	wide := &v1alpha1.ClusterDeliveryPolicy{ObjectMeta: metav1.ObjectMeta{Name: w.env.Namespace}}
	wide.Spec.Enforcement = v1alpha1.EnforceAlways
	// It binds every Sync of the cluster, so in this test only objects of this namespace break it.
	wide.Spec.DeliveryPolicySpec = v1alpha1.DeliveryPolicySpec{Expression: "object.metadata.namespace != '" + w.env.Namespace + "' || object.data.key == '2'", Message: "it must be 2", Rationale: "r"}
	w.create(wide)
	w.Cleanup(func() { _ = w.env.Client.Delete(context.Background(), wide) })
	s := w.reconcile()
	expect(t, s, "False/Denied", "ClusterDeliveryPolicy "+wide.Name+": it must be 2")
	w.nothing(s)
	wide.Spec.Severity = v1alpha1.SeverityWarn
	if err := w.env.Client.Update(t.Context(), wide); err != nil {
		t.Fatal(err)
	}
	if s = w.reconcile(); !strings.Contains(strings.Join(s.Status.Warnings, "\n"), "it must be 2") {
		t.Errorf("warnings %q", s.Status.Warnings)
	}
	expect(t, s, "True/Applied")
	// A changed policy is looked at before the interval is over.
	wide.Spec.Severity = v1alpha1.SeverityDeny
	if err := w.env.Client.Update(t.Context(), wide); err != nil {
		t.Fatal(err)
	}
	expect(t, w.reconcile(), "False/Denied", "it must be 2")
}
