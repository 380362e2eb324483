package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/controllers/revert"
	"github.com/belay-delivery/belay/controllers/sync"
	"github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/gitops/forge"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/render"
	splice "github.com/belay-delivery/belay/gitops/revert"
)

const acceptLong = `Make what is live what Git declares.

The live values of all fields that differ are written into the file that declares the object, as an edit of those values alone,
and it is proven that the folder then renders to that and to everything else as before. The commit becomes a pull request, or is
pushed, as the Repository's spec.write.strategy says (--strategy overrules it). It uses the Repository's write credentials: it
takes the right to read that Secret. With --print nothing is written: the changed file goes to standard output.`

type acceptOptions struct {
	sync, strategy, reason string
	print                  bool
}

func (a *app) driftAcceptCommand() *cobra.Command {
	o := &acceptOptions{}
	cmd := &cobra.Command{
		Use:               "accept KIND/NAME",
		Short:             "Turn a drift into a commit or a pull request",
		Long:              acceptLong,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.driftAccept(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.sync, "sync", "", "The Sync that reports it, where several do")
	cmd.Flags().StringVar(&o.strategy, "strategy", "", "Push or PullRequest. Default: PullRequest, unless the Repository says Push")
	cmd.Flags().StringVar(&o.reason, "reason", "", "Why, for those who ask later")
	cmd.Flags().BoolVar(&o.print, "print", false, "Print the changed file and write nothing")
	return cmd
}

func (a *app) driftAccept(ctx context.Context, object string, o *acceptOptions) error {
	if o.strategy != "" && o.strategy != string(v1alpha1.StrategyPush) && o.strategy != string(v1alpha1.StrategyPullRequest) {
		return fmt.Errorf("--strategy=%s: use Push or PullRequest", o.strategy)
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	item, err := findDrift(ctx, c, namespace, object, o.sync)
	if err != nil {
		return err
	}
	acc := acceptance{c: c, item: item, options: o}
	if err := acc.gather(ctx); err != nil {
		return err
	}
	changes, err := acc.compose()
	if err != nil {
		return err
	}
	if o.print {
		for _, content := range changes {
			return printText(a.streams.Out, string(*content))
		}
	}
	done, err := acc.publish(ctx, changes)
	if err != nil {
		return err
	}
	return printText(a.streams.Out, done+"\n")
}

func findDrift(ctx context.Context, c client.Client, namespace, object, sync string) (driftItem, error) {
	items, err := drifts(ctx, c, namespace, sync, false)
	if err != nil {
		return driftItem{}, err
	}
	kind, name, _ := strings.Cut(object, "/")
	var found []driftItem
	for _, item := range items {
		if strings.EqualFold(item.Kind, kind) && item.Name == name {
			found = append(found, item)
		}
	}
	switch {
	case len(found) == 0:
		return driftItem{}, fmt.Errorf("no Sync of namespace %s reports that %s differs from Git: see `kubectl belay drift`", namespace, object)
	case len(found) > 1:
		return driftItem{}, fmt.Errorf("%d Syncs report %s: say which with --sync", len(found), object)
	}
	item := found[0]
	switch {
	case item.Class == v1alpha1.DriftClass(drift.Deleted):
		return item, fmt.Errorf("%s was deleted: to accept that, take it out of Git", object)
	case item.Kind == "Secret" && item.Group == "":
		return item, errors.New("values of Secrets are not written into Git")
	}
	return item, nil
}

// acceptance is one drift on its way into Git.
type acceptance struct {
	c       client.Client
	item    driftItem
	options *acceptOptions
	sync    v1alpha1.Sync
	repo    v1alpha1.Repository
	live    *unstructured.Unstructured
	fields  []drift.Field
	remote  git.Remote
	fetched *git.Repo
	tree    git.Tree
	user    string
}

func (acc *acceptance) gather(ctx context.Context) error {
	key := client.ObjectKey{Namespace: acc.item.Namespace, Name: acc.item.Sync}
	if err := acc.c.Get(ctx, key, &acc.sync); err != nil {
		return fmt.Errorf("reading Sync %s: %w", key.Name, err)
	}
	key.Name = acc.sync.Spec.Repository
	if err := acc.c.Get(ctx, key, &acc.repo); err != nil {
		return fmt.Errorf("reading Repository %s: %w", key.Name, err)
	}
	secret := acc.repo.Spec.SecretRef
	if !acc.options.print {
		if acc.repo.Spec.Write == nil {
			return fmt.Errorf("Repository %s has no spec.write: use --print, and commit it yourself", key.Name)
		}
		secret = acc.repo.Spec.Write.SecretRef
	}
	mapping, err := acc.c.RESTMapper().RESTMapping(schema.GroupKind{Group: acc.item.Group, Kind: acc.item.Kind})
	if err != nil {
		return fmt.Errorf("finding kind %s: %w", acc.item.Kind, err)
	}
	acc.live = &unstructured.Unstructured{}
	acc.live.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := acc.c.Get(ctx, client.ObjectKey{Namespace: acc.item.DriftedObject.Namespace, Name: acc.item.Name}, acc.live); err != nil {
		return fmt.Errorf("reading %s/%s: %w", acc.item.Kind, acc.item.Name, err)
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := acc.c.Create(ctx, review); err != nil {
		return fmt.Errorf("asking who you are: %w", err)
	}
	acc.user = review.Status.UserInfo.Username
	source := repository.NewSource(acc.c, true)
	if acc.remote, err = source.Remote(ctx, &acc.repo, secret); err != nil {
		return err
	}
	if acc.fetched, err = source.Fetch(ctx, acc.remote, 1, repository.Timeout(&acc.repo)); err != nil {
		return err
	}
	acc.tree, err = acc.fetched.Tree(acc.fetched.Head())
	return err
}

// compose makes the changed file from the fields that are reported and as they are live now.
func (acc *acceptance) compose() (map[string]*[]byte, error) {
	key := render.Key{Group: acc.item.Group, Kind: acc.item.Kind, Namespace: acc.item.DriftedObject.Namespace, Name: acc.item.Name}
	objects, err := render.Render(acc.tree, acc.sync.Spec.Path)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if k := o.Key(); k.Group != key.Group || k.Kind != key.Kind || k.Name != key.Name || k.Namespace != "" && k.Namespace != key.Namespace {
			continue
		}
		fields, err := acc.differing(o)
		if err != nil {
			return nil, err
		}
		acc.fields = fields
		var changes []splice.Change
		for _, f := range fields {
			if drift.Hidden(schema.GroupKind{Group: key.Group, Kind: key.Kind}, f.Path, f.Live) {
				return nil, fmt.Errorf("%s looks like a secret by its name: it is not written into Git", f.Path)
			}
			changes = append(changes, splice.Change{Path: f.Path, Value: f.Live})
		}
		if len(changes) == 0 {
			return nil, errors.New("Git declares what is live by now")
		}
		return splice.Declare(acc.tree, acc.sync.Spec.Path, key, changes)
	}
	return nil, fmt.Errorf("folder %q of branch %s no longer declares %s", acc.sync.Spec.Path, acc.remote.Branch, key)
}

// differing are all fields that differ, those that status only counts too: a commit that takes over some of them declares the object
// anew, and the others would be overwritten.
func (acc *acceptance) differing(o render.Object) ([]drift.Field, error) {
	wanted := drift.Wanted{Manager: sync.FieldManager, Removed: acc.fetched.Head() == acc.sync.Status.AppliedCommit}
	for _, f := range acc.item.Fields {
		wanted.Paths = append(wanted.Paths, f.Path)
	}
	declared, err := sync.Declared(&acc.sync, o.Unstructured, acc.live)
	if err != nil {
		return nil, err
	}
	fields, err := drift.Between(declared, acc.live, wanted)
	if err != nil {
		return nil, err
	}
	reported := len(acc.item.Fields) + int(acc.item.MoreFields)
	if whole := acc.item.MoreFields == 0 && !slices.ContainsFunc(wanted.Paths, func(p string) bool { return strings.HasSuffix(p, "…") }); !whole && len(fields) < reported {
		return nil, fmt.Errorf("%s/%s differs in %d fields, of which %d can be found here (the others differ by defaults or admission of the API server, or branch %s has changed, or the report is older than the object): nothing is accepted, since what was left out would be overwritten; "+
			"run it again once the Sync has reported anew, or write the values into %s by hand", acc.item.Kind, acc.item.Name, reported, len(fields), acc.remote.Branch, o.Origin.File)
	}
	return fields, nil
}

// maxAccepted is how many fields a commit's message names.
const maxAccepted = 64

func (acc *acceptance) message() string {
	var out strings.Builder
	fmt.Fprintf(&out, "drift(%s): accept %s/%s as it is live\n\n", acc.item.Sync, acc.item.Kind, acc.item.Name)
	if acc.options.reason != "" {
		fmt.Fprintf(&out, "%s\n\n", strings.TrimSpace(acc.options.reason))
	}
	kind := schema.GroupKind{Group: acc.item.Group, Kind: acc.item.Kind}
	for _, f := range acc.fields[:min(len(acc.fields), maxAccepted)] {
		fmt.Fprintf(&out, "- %s: %s, was %s\n", f.Path, oneLine(drift.Shown(kind, f.Path, f.Live)), oneLine(drift.Shown(kind, f.Path, f.Declared)))
	}
	if more := len(acc.fields) - maxAccepted; more > 0 {
		fmt.Fprintf(&out, "- and %d more\n", more)
	}
	fmt.Fprintf(&out, "\nDrift-Digest: %s\nSync: %s/%s\nObject: %s %s/%s\nClass: %s\nAccepted-By: %s\n", acc.item.Digest, acc.item.Namespace, acc.item.Sync,
		acc.item.Kind, acc.item.DriftedObject.Namespace, acc.item.Name, acc.item.Class, oneLine(acc.user))
	if acc.repo.Spec.Write != nil && acc.repo.Spec.Write.SignOff == v1alpha1.Enabled {
		name, email := acc.author()
		fmt.Fprintf(&out, "Signed-off-by: %s <%s>\n", name, email)
	}
	return out.String()
}

// author of the commit.
func (acc *acceptance) author() (name, email string) {
	write := acc.repo.Spec.Write
	return cmp.Or(write.Author.Name, "Belay"), cmp.Or(write.Author.Email, "belay@localhost")
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// publish commits, and pushes to the branch, or to one of its own with a pull request.
func (acc *acceptance) publish(ctx context.Context, changes map[string]*[]byte) (string, error) {
	write := acc.repo.Spec.Write
	sign, err := revert.SignerOf(ctx, acc.c, &acc.repo)
	if err != nil {
		return "", err
	}
	base := acc.fetched.Head()
	name, email := acc.author()
	commit, err := acc.fetched.Write(base, changes, git.CommitOptions{Message: acc.message(), AuthorName: name, AuthorEmail: email, When: time.Now(), Sign: sign})
	if err != nil {
		return "", err
	}
	strategy := cmp.Or(acc.options.strategy, string(write.Strategy))
	if strategy == string(v1alpha1.StrategyPush) {
		if err := acc.remote.Push(ctx, acc.fetched, base, commit); err != nil {
			return "", fmt.Errorf("pushing to %s: %w", acc.remote.Branch, err)
		}
		return fmt.Sprintf("commit %s is on branch %s", commit, acc.remote.Branch), nil
	}
	to, err := revert.ForgeOf(ctx, acc.c, &acc.repo)
	if err != nil {
		return "", fmt.Errorf("a pull request is not possible: %w; --strategy Push pushes to the branch", err)
	}
	aside := acc.remote
	aside.Branch = "drift/" + acc.item.Digest
	if err := aside.Push(ctx, acc.fetched, "", commit); err != nil && !errors.Is(err, git.ErrStale) { // stale: it is there from an earlier try
		return "", fmt.Errorf("pushing branch %s: %w", aside.Branch, err)
	}
	title, body, _ := strings.Cut(acc.message(), "\n")
	request, err := forge.Propose(ctx, to, forge.Proposal{Branch: aside.Branch, Base: acc.remote.Branch, Title: title, Body: body})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("pull request %d: %s", request.Number, request.URL), nil
}
