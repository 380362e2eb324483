package node

import (
	"context"
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// A node that was taken for lost says that it is ready as soon as it can.
func TestLostNodeComesBack(t *testing.T) {
	client := fake.NewClientset()
	a := &agent{Options: Options{Name: "node-0", Log: slog.New(slog.DiscardHandler)}, client: client}
	if err := a.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := func() corev1.ConditionStatus {
		node, err := client.CoreV1().Nodes().Get(t.Context(), "node-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status
			}
		}
		return ""
	}
	lost(t.Context(), t, client)
	if got := ready(); got != corev1.ConditionUnknown {
		t.Fatalf("the node is to be lost, and is %s", got)
	}
	if err := a.stayReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ready(); got != corev1.ConditionTrue {
		t.Errorf("the node's condition Ready is %s, want True", got)
	}
}

// lost is what the control plane writes where a Lease was not renewed in time.
func lost(ctx context.Context, t *testing.T, client *fake.Clientset) {
	t.Helper()
	node, err := client.CoreV1().Nodes().Get(ctx, "node-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range node.Status.Conditions {
		node.Status.Conditions[i].Status = corev1.ConditionUnknown
	}
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
