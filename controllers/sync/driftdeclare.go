package sync

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/gitops/history"
	"github.com/belay-delivery/belay/gitops/render"
)

// declareTimeout is how long finding out who declared the fields may take. The first question reads the history.
const declareTimeout = 20 * time.Second

// nameCommits adds to a report which commit declared each field. It comes after the report: what is found out about the past
// must not hold up what is done about the present.
func (r *Reconciler) nameCommits(ctx context.Context, sync *v1alpha1.Sync, done result) error {
	if sync.Status.Drift == nil || len(done.drift) == 0 || r.Source == nil {
		return nil
	}
	repo, err := r.repositoryOf(ctx, sync)
	if err != nil {
		return nil // it was there a moment ago: the next report will say
	}
	ctx, cancel := context.WithTimeout(ctx, declareTimeout)
	defer cancel()
	next := sync.Status.DeepCopy()
	for _, f := range done.drift {
		o := reported(next.Drift, f.item.Entry)
		if o == nil || f.quiet || o.Digest != f.digest {
			continue
		}
		asker := asker{r: r, repo: repo, commit: cmp.Or(done.stoodAt, done.commit), item: f.item}
		if len(o.Fields) == 0 {
			o.DeclaredBy = asker.ask(ctx, "")
		}
		for i := range o.Fields {
			if i < len(f.fields) && o.Fields[i].DeclaredBy == nil && f.fields[i].Path.String() == o.Fields[i].Path && asker.declares(ctx, f.fields[i]) {
				o.Fields[i].DeclaredBy = asker.ask(ctx, o.Fields[i].Path)
			}
		}
	}
	if equality.Semantic.DeepEqual(next, &sync.Status) {
		return nil
	}
	return r.writeStatus(ctx, sync, next)
}

// asker asks who declared fields of one object.
type asker struct {
	r      *Reconciler
	repo   *v1alpha1.Repository
	commit string
	item   *Item
	source *unstructured.Unstructured
	read   bool
}

func (a *asker) document() history.Document {
	if a.item.Doc >= 0 {
		return history.Document{Index: a.item.Doc}
	}
	return history.Document{Kind: a.item.Declared.GetKind(), Name: a.item.Declared.GetName()}
}

// declares says that the file itself says what is applied: a patch, an image or a generator of a kustomization would be declared
// elsewhere, and naming the file's author would be wrong.
func (a *asker) declares(ctx context.Context, field driftpkg.Field) bool {
	if !a.read {
		a.read, a.source = true, a.load(ctx)
	}
	if a.source == nil {
		return false
	}
	in, has := driftpkg.At(a.source, field.Path)
	out, applied := driftpkg.At(a.item.Declared, field.Path)
	return has && applied && equality.Semantic.DeepEqual(in, out)
}

// load reads the document that declares the object; nil where it cannot be told.
func (a *asker) load(ctx context.Context) *unstructured.Unstructured {
	tree, err := a.r.Source.Checkout(ctx, a.repo, a.commit)
	if err != nil {
		return nil
	}
	raw, err := tree.ReadFile(a.item.File)
	if err != nil {
		return nil
	}
	objects, err := render.Parse(a.item.File, raw)
	if err != nil {
		return nil
	}
	for _, o := range objects {
		if o.Origin.Doc == a.item.Doc || a.item.Doc < 0 && o.GetKind() == a.item.Declared.GetKind() && o.GetName() == a.item.Declared.GetName() {
			return o.Unstructured
		}
	}
	return nil
}

func (a *asker) ask(ctx context.Context, field string) *v1alpha1.DriftDeclaration {
	answer, err := a.r.Source.Blame(ctx, a.repo, a.commit, history.Place{File: a.item.File, Document: a.document(), Field: field})
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("Who declared a field is not known", "file", a.item.File, "field", field, "reason", err.Error())
		return nil
	}
	at := metav1.NewTime(answer.Commit.Time)
	return &v1alpha1.DriftDeclaration{File: a.item.File, Line: int32(answer.Line), Commit: answer.Commit.SHA, Before: !answer.Exact,
		Author: cut(answer.Commit.Author+" <"+answer.Commit.AuthorEmail+">", pathBytes), At: &at, Subject: cut(answer.Commit.Subject, maxSubject)}
}

// maxSubject is how much of a commit's subject is shown.
const maxSubject = 128
