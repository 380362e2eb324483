package deliverypolicy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/internal/testenv"
)

func TestReadySaysWhetherItCompiles(t *testing.T) {
	env := testenv.New(t)
	spec := v1alpha1.DeliveryPolicySpec{Expression: "objekt.spec == 1", Message: "m", Rationale: "r"}
	local := &v1alpha1.DeliveryPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "p"}, Spec: spec}
	wide := &v1alpha1.ClusterDeliveryPolicy{ObjectMeta: metav1.ObjectMeta{Name: env.Namespace}, Spec: v1alpha1.ClusterDeliveryPolicySpec{DeliveryPolicySpec: spec}}
	for _, test := range []struct {
		r      *Reconciler
		object client.Object
		fix    func()
		status *v1alpha1.DeliveryPolicyStatus
	}{
		{&Reconciler{Client: env.Client}, local, func() { local.Spec.Expression = "true" }, &local.Status},
		{&Reconciler{Client: env.Client, Cluster: true}, wide, func() { wide.Spec.Expression = "true" }, &wide.Status},
	} {
		if err := env.Client.Create(t.Context(), test.object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.Client.Delete(t.Context(), test.object) })
		expect := func(reason, says string) string {
			t.Helper()
			if _, err := test.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(test.object)}); err != nil {
				t.Fatal(err)
			}
			if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(test.object), test.object); err != nil {
				t.Fatal(err)
			}
			c := v1alpha1.FindCondition(test.status.Conditions, v1alpha1.ConditionReady)
			if c == nil || c.Reason != reason || !strings.Contains(c.Message, says) || c.ObservedGeneration != test.object.GetGeneration() {
				t.Errorf("Ready is %+v, want %s, saying %q", c, reason, says)
			}
			return test.object.GetResourceVersion()
		}
		expect(ReasonInvalid, "undeclared reference to 'objekt'")
		test.fix()
		if err := env.Client.Update(t.Context(), test.object); err != nil {
			t.Fatal(err)
		}
		version := expect(ReasonCompiled, "")
		if again := expect(ReasonCompiled, ""); again != version {
			t.Errorf("written again without news: %s, then %s", version, again)
		}
	}
}
