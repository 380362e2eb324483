package stage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

// Install applies config/default as `kubectl apply -k` would, but for the Deployment: Belay runs as a process here.
func (b *Bed) Install(ctx context.Context, root string) error {
	files, err := FilesBelow(root, "config")
	if err != nil {
		return err
	}
	objects, err := render.Render(tree.FromMap(files), "config/default")
	if err != nil {
		return fmt.Errorf("rendering config/default: %w", err)
	}
	for _, kind := range []string{"Namespace", "CustomResourceDefinition", ""} {
		for _, o := range objects {
			special := o.GetKind() == "Namespace" || o.GetKind() == "CustomResourceDefinition"
			if o.GetKind() == "Deployment" || (kind == "" && special) || (kind != "" && o.GetKind() != kind) {
				continue
			}
			if err := b.ApplyObject(ctx, o.Unstructured); err != nil {
				return err
			}
		}
	}
	return Poll(ctx, "Belay's kinds", 30*time.Second, b.hasKinds)
}

// hasKinds returns nil once every kind is served.
func (b *Bed) hasKinds(ctx context.Context) error {
	for _, list := range []client.ObjectList{&v1alpha1.RolloutList{}, &v1alpha1.DecisionList{}, &v1alpha1.AnalysisTemplateList{},
		&v1alpha1.AnalysisRunList{}, &v1alpha1.RepositoryList{}, &v1alpha1.SyncList{}} {
		if err := b.Client.List(ctx, list, client.Limit(1)); err != nil {
			if apimeta.IsNoMatchError(err) {
				b.forgetKinds()
			}
			return fmt.Errorf("listing %T: %w", list, err)
		}
	}
	return nil
}

// forgetKinds makes the client ask the API server again which kinds there are.
func (b *Bed) forgetKinds() {
	if c, err := client.New(b.Config, client.Options{Scheme: Scheme()}); err == nil {
		b.Client = c
	}
}

// FilesBelow reads the regular files of a folder, by their path from root.
func FilesBelow(root, folder string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(strings.TrimPrefix(path, root), "/")] = string(text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", folder, err)
	}
	return files, nil
}
