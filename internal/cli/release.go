package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func (a *app) releaseCommand() *cobra.Command {
	timeout := 15 * time.Minute
	cmd := &cobra.Command{
		Use:   "release ROLLOUT",
		Short: "Delete a Rollout with workloadRef and give its pods back to the Deployment",
		Long: "Delete a Rollout with workloadRef and give its pods back to the Deployment; none is restarted.\n\nWhere Git declares the Rollout, take it out of Git first: it would come back.\n" +
			"The Deployment stays paused where its template is not that of the stable pods.",
		Example:           "  kubectl belay release cart",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRollouts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.release(cmd.Context(), args[0], timeout) },
	}
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "How long to wait until the pods are the Deployment's; 0 does not wait")
	return cmd
}

func (a *app) release(ctx context.Context, name string, timeout time.Duration) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	r, err := getRollout(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	name = r.Name
	if r.Spec.WorkloadRef == nil {
		return fmt.Errorf("Rollout %s/%s has no workloadRef: there is no Deployment to give its pods to, and deleting it deletes them", namespace, name)
	}
	// The Rollout must be there until its pods are given back, so its dependents are not deleted first.
	if err := c.Delete(ctx, r, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &r.UID}); err != nil {
		return fmt.Errorf("deleting Rollout %s/%s: %w", namespace, name, err)
	}
	if timeout == 0 {
		_, err := fmt.Fprintf(a.streams.Out, "Rollout %s is being deleted; its pods go back to Deployment %s\n", name, r.Spec.WorkloadRef.Name)
		return err
	}
	if err := a.waitUntilGone(ctx, c, r, timeout); err != nil {
		return err
	}
	return a.tellReleased(ctx, c, r)
}

// waitUntilGone tells what the deletion waits for, once for each reason.
func (a *app) waitUntilGone(ctx context.Context, c client.Client, r *v1alpha1.Rollout, timeout time.Duration) error {
	last := ""
	err := wait.PollUntilContextTimeout(ctx, time.Second, timeout, true, func(ctx context.Context) (bool, error) {
		now := &v1alpha1.Rollout{}
		err := c.Get(ctx, client.ObjectKeyFromObject(r), now)
		if apierrors.IsNotFound(err) || err == nil && now.UID != r.UID {
			return true, nil
		}
		if why := now.Status.BlockedBy; err == nil && why != "" && why != last {
			last = why
			fmt.Fprintf(a.streams.ErrOut, "waiting: %s\n", why)
		}
		return false, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return &exitError{code: ExitTimeout, err: fmt.Errorf("Rollout %s/%s is still being deleted after %s: %s", r.Namespace, r.Name, timeout, last)}
	}
	if err != nil {
		return fmt.Errorf("waiting for the deletion of Rollout %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

func (a *app) tellReleased(ctx context.Context, c client.Client, r *v1alpha1.Rollout) error {
	d := &appsv1.Deployment{}
	err := c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Spec.WorkloadRef.Name}, d)
	switch {
	case apierrors.IsNotFound(err):
		_, err = fmt.Fprintf(a.streams.Out, "Rollout %s is deleted, and so are its pods: there is no Deployment %s\n", r.Name, r.Spec.WorkloadRef.Name)
	case err != nil:
		return fmt.Errorf("reading Deployment %s/%s: %w", r.Namespace, r.Spec.WorkloadRef.Name, err)
	case d.Spec.Paused:
		_, err = fmt.Fprintf(a.streams.Out, "Deployment %s has its pods back and stays paused, because its template is not that of the pods: set it back, or bring it out with kubectl rollout resume deployment/%s\n", d.Name, d.Name)
	default:
		_, err = fmt.Fprintf(a.streams.Out, "Deployment %s has its %d pods back\n", d.Name, d.Status.Replicas)
	}
	return err
}
