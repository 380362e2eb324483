package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/sync"
	"github.com/belay-delivery/belay/gitops/drift"
)

const restoreLong = `Put back what a Sync has overwritten.

RECORD is the name that status.drift and 'kubectl belay drift -o wide --corrected' show. It needs the right to read the Secret
belay-drift-records and to write the object. Where the Sync corrects drift it would be overwritten again at once: set its
spec.drift.mode to Detect first, or say --force.`

func (a *app) driftRestoreCommand() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:               "restore RECORD",
		Short:             "Put back a value that a Sync has overwritten",
		Long:              restoreLong,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.driftRestore(cmd.Context(), args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "Do it although the Sync will overwrite it again")
	return cmd
}

func (a *app) driftRestore(ctx context.Context, name string, force bool) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	record, err := readRecord(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	var s v1alpha1.Sync
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: record.Sync}, &s); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Sync %s: %w", record.Sync, err)
	} else if err == nil && s.Spec.Drift.Mode == v1alpha1.DriftCorrect && !s.Spec.Suspend && !force {
		return fmt.Errorf("Sync %s corrects drift: it would be overwritten at once; set its spec.drift.mode to Detect first, or say --force", s.Name)
	}
	live := &unstructured.Unstructured{}
	live.SetAPIVersion(record.APIVersion)
	live.SetKind(record.Kind)
	what := record.Kind + "/" + record.Name
	if err := c.Get(ctx, client.ObjectKey{Namespace: record.Namespace, Name: record.Name}, live); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	if string(live.GetUID()) != record.UID {
		return fmt.Errorf("%s is another object than the one whose value was kept: it was deleted and made again", what)
	}
	next := live.DeepCopy()
	for _, f := range record.Fields {
		path, err := pathOf(f.Elements)
		if err != nil {
			return err
		}
		value := f.Live
		if f.Absent {
			value = nil
		}
		if !drift.Put(next, path, value) {
			return fmt.Errorf("%s: there is no place for %s any more", what, f.Path)
		}
	}
	// The version is part of the request: what somebody writes meanwhile is not lost.
	if err := c.Update(ctx, next, client.FieldOwner("kubectl-belay-restore")); err != nil {
		return fmt.Errorf("writing %s: %w", what, err)
	}
	return printText(a.streams.Out, fmt.Sprintf("%s: %d fields are as they were before %s overwrote them\n", what, len(record.Fields), record.Sync))
}

func readRecord(ctx context.Context, c client.Client, namespace, name string) (sync.Record, error) {
	secret := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: sync.RecordsName}, secret); err != nil {
		return sync.Record{}, fmt.Errorf("reading what was kept: %w", err)
	}
	raw, has := secret.Data[name]
	for key := range secret.Data {
		if !has && sync.SameRecord(key, name) {
			raw, has = secret.Data[key], true
		}
	}
	if !has {
		return sync.Record{}, fmt.Errorf("there is no record %q among the %d of namespace %s: only the last ones are kept", name, len(secret.Data), namespace)
	}
	return sync.ReadRecord(raw)
}

func pathOf(elements []string) (fieldpath.Path, error) {
	var path fieldpath.Path
	for _, text := range elements {
		element, err := fieldpath.DeserializePathElement(text)
		if err != nil {
			return nil, fmt.Errorf("reading path element %q of the record: %w", text, err)
		}
		path = append(path, element)
	}
	return path, nil
}
