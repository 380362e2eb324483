package revert

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
	"github.com/belay-delivery/belay/internal/revision"
)

// Group is the API group of the workloads that revisions are computed for.
const Group = "belay.dev"

// Workload names a Rollout as rendered. An empty Namespace matches any.
type Workload struct{ Namespace, Kind, Name string }

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// Trailer is the workload as a trailer has it.
func (w Workload) Trailer() string { return w.Namespace + "/" + w.Kind + "/" + w.Name }

// Input is what a revert is computed from.
type Input struct {
	// Head is the branch now; Good and Bad are the commits in which the workload
	// had the good and (last) the bad revision.
	Head, Good, Bad tree.Tree
	// Path is the folder that declares the workload.
	Path     string
	Workload Workload
	// Applied are folders that somebody is known to apply by themselves, such as a base that is an environment of its own: they must
	// stay as they are, also where Path is made of them.
	Applied []string
	// GoodRevision and BadRevision are hashes of the pod template.
	GoodRevision, BadRevision string
	// Values and Known: see Where. Without Path, Known has the good and the bad template.
	Values []Value
	Known  map[string]map[string]any
}

func (in Input) where() Where {
	return Where{Workload: in.Workload, Path: in.Path, Values: in.Values, Known: in.Known}
}

// Outcome is the kind of a Result.
type Outcome string

const (
	// Changes means that the result's changes, committed on head, are the revert.
	Changes Outcome = "Changes"
	// AlreadyResolved means that head does not declare the bad revision.
	AlreadyResolved Outcome = "AlreadyResolved"
	// Conflict means that no change was proved safe: a person must look.
	Conflict Outcome = "Conflict"
)

// Result is what to commit, or why there is nothing to commit.
type Result struct {
	Outcome Outcome
	// Changes are the files to write (nil: delete), by path.
	Changes map[string]*[]byte
	// Files are the paths of Changes, sorted.
	Files []string
	// Why is one sentence for a person.
	Why string
	// Proposal, of a Conflict, makes the workload known-good but also changes something else, or undoes an edit of others:
	// Why says what. It is for people to look at, never to be committed without them.
	Proposal map[string]*[]byte
}

func conflict(format string, args ...any) Result {
	return Result{Outcome: Conflict, Why: fmt.Sprintf(format, args...)}
}

// Compose computes the revert. An error means that the input itself is unusable
// (a revision is missing, good and bad are the same); a state of Git that cannot
// be reverted is a Conflict.
func Compose(in Input) (Result, error) {
	if err := in.check(); err != nil {
		return Result{}, fmt.Errorf("composing revert of %s: %w", in.Workload, err)
	}
	if in.Path == "" && len(in.Values) > 0 {
		return in.composeValues(), nil
	}
	head, err := see(in.Head, in)
	if err != nil {
		return conflict("head cannot be rendered: %v", err), nil
	}
	switch head.revision {
	case "":
		return Result{Outcome: AlreadyResolved, Why: "head no longer declares the workload in this folder"}, nil
	case in.BadRevision:
	default:
		return Result{Outcome: AlreadyResolved, Why: fmt.Sprintf("head declares revision %s, not %s", head.revision, in.BadRevision)}, nil
	}
	if len(in.Values) > 0 {
		return in.composeBoth(), nil
	}
	return in.composeRendered(head), nil
}

// composeRendered composes the change of what the folder renders to.
func (in Input) composeRendered(head sight) Result {
	sides := [2]sight{}
	for i, side := range []struct {
		name, want string
		tree       tree.Tree
	}{{"known-good", in.GoodRevision, in.Good}, {"bad", in.BadRevision, in.Bad}} {
		seen, err := see(side.tree, in)
		if err != nil {
			return conflict("the %s commit cannot be rendered: %v", side.name, err)
		}
		if seen.revision != side.want {
			return conflict("the %s commit declares revision %q, not %s", side.name, seen.revision, side.want)
		}
		sides[i] = seen
	}
	return newComposer(in, sides[0], sides[1], head).compose()
}

// composeBoth sets the values back, and on top of that what the folder renders to.
func (in Input) composeBoth() Result {
	values, err := in.valued()
	if err != nil {
		return conflict("%v", err)
	}
	in.Head = tree.Overlay(in.Head, values)
	head, err := see(in.Head, in)
	if err != nil {
		return conflict("with the values set back head cannot be rendered: %v", err)
	}
	result := Result{Outcome: Changes, Changes: map[string]*[]byte{}, Why: "the values were set back"}
	if head.revision != in.GoodRevision { // the values are not what the folder is made of
		if result = in.composeRendered(head); result.Outcome == Changes {
			result.Why += "; and the values"
		}
	}
	for _, changes := range []map[string]*[]byte{result.Changes, result.Proposal} {
		for name, content := range values {
			if _, done := changes[name]; !done && changes != nil {
				changes[name] = content
			}
		}
	}
	if result.Changes != nil {
		result.Files = slices.Sorted(maps.Keys(result.Changes))
	}
	return result
}

// composeValues sets values back where nothing in the repository renders to the workload.
func (in Input) composeValues() Result {
	switch declared, err := in.where().RevisionAt(in.Head); {
	case err != nil:
		return conflict("head cannot be read: %v", err)
	case declared != in.BadRevision:
		return Result{Outcome: AlreadyResolved, Why: "the values at head are not those of revision " + in.BadRevision}
	}
	changes, err := in.valued()
	if err != nil {
		return conflict("%v", err)
	}
	template := runtime.DeepCopyJSON(in.Known[in.BadRevision])
	for _, v := range in.Values {
		if err := v.set(template, in.Known[in.GoodRevision]); err != nil {
			return conflict("%v", err)
		}
	}
	if got, err := revision.HashMap(template); err != nil || got != in.GoodRevision {
		out := conflict("the values named by onFailure.revert.values are not all that differs between revisions %s and %s: with them set back, the pod template would still be another one",
			in.BadRevision, in.GoodRevision)
		out.Proposal = changes
		return out
	}
	return Result{Outcome: Changes, Changes: changes, Files: slices.Sorted(maps.Keys(changes)), Why: "the values were set back"}
}

func (in Input) check() error {
	switch {
	case in.Head == nil || in.Good == nil || in.Bad == nil:
		return errors.New("a tree is missing")
	case in.GoodRevision == "" || in.BadRevision == "":
		return errors.New("a revision is missing")
	case in.GoodRevision == in.BadRevision:
		return errors.New("the good and the bad revision are the same")
	case in.Workload.Name == "" || in.Workload.Kind == "":
		return errors.New("the workload has no kind or no name")
	}
	for _, v := range in.Values {
		if err := v.Check(); err != nil {
			return err
		}
	}
	_, err := tree.Clean(in.Path)
	return err
}

// RevisionAt renders a folder and returns the workload's revision, "" when the
// folder does not declare it.
func RevisionAt(t tree.Tree, folder string, workload Workload) (string, error) {
	seen, err := see(t, Input{Path: folder, Workload: workload})
	return seen.revision, err
}

// sight is a rendered folder, with the workload apart from the others.
type sight struct {
	revision string
	workload *render.Object
	rest     map[string]any // the workload without its template
	others   map[render.Key]map[string]any
	origins  map[render.Key]string // the files that others come from
	// template and namespace of the workload.
	template  map[string]any
	namespace string
}

func see(t tree.Tree, in Input) (sight, error) {
	objects, err := render.Render(t, in.Path)
	if err != nil {
		return sight{}, err
	}
	seen := sight{others: map[render.Key]map[string]any{}, origins: map[render.Key]string{}}
	for _, object := range objects {
		if !in.Workload.is(object) {
			seen.others[object.Key()], seen.origins[object.Key()] = object.Object, object.Origin.File
			continue
		}
		if seen.workload != nil {
			return sight{}, fmt.Errorf("%s is declared in more than one namespace", in.Workload)
		}
		seen.workload = &object
		if err := seen.take(object.Unstructured); err != nil {
			return sight{}, err
		}
	}
	return seen, nil
}

func (w Workload) is(object render.Object) bool {
	key := object.Key()
	return key.Group == Group && key.Kind == w.Kind && key.Name == w.Name &&
		(w.Namespace == "" || key.Namespace == "" || key.Namespace == w.Namespace)
}

func (s *sight) take(object *unstructured.Unstructured) error {
	template, found, err := unstructured.NestedMap(object.Object, "spec", "template")
	if err != nil || !found {
		return fmt.Errorf("%s %s has no spec.template", object.GetKind(), object.GetName())
	}
	if s.revision, err = revision.HashMap(template); err != nil {
		return err
	}
	s.template, s.namespace = template, object.GetNamespace()
	s.rest = object.DeepCopy().Object
	unstructured.RemoveNestedField(s.rest, "spec", "template")
	return nil
}

// composer tries changes in order of preference and keeps the first proved one.
type composer struct {
	in       Input
	head     sight
	goes     belongings
	tried    []string
	overlays []string
	// reached are the files of head that each of the overlays reads; nil where that cannot be told.
	reached  map[string][]string
	proposal *attempt
	// expand and skipped: see merger.
	expand, skipped bool
	// tree and origin of the two commits, for the files of what goes back with the workload.
	good, bad sight
}

func newComposer(in Input, good, bad, head sight) *composer {
	return &composer{in: in, head: head, good: good, bad: bad, goes: belonging(good, bad, head)}
}

func (c *composer) compose() Result {
	files, err := c.differing()
	if err != nil {
		return conflict("%v", err)
	}
	if len(files) == 0 {
		return conflict("no file that declares the workload differs between the known-good and the bad commit")
	}
	if c.goes.problem == nil {
		if found := c.splice(files); found != nil {
			return c.done(found, "the fields that the bad revision changed were set back")
		}
		if c.expand = c.skipped; c.expand {
			if found := c.splice(files); found != nil {
				return c.done(found, "the fields that the bad revision changed were set back, with values in the place of aliases")
			}
		}
		if found := c.restore(files); found != nil {
			return c.done(found, "files untouched since were restored as they were at the known-good commit")
		}
	}
	return c.hopeless(files)
}

// hopeless says why there is no proved change, with what people may still want.
func (c *composer) hopeless(files []string) Result {
	out := conflict("no field of the workload could be traced to a file")
	switch {
	case c.goes.problem != nil:
		out = conflict("%v", c.goes.problem)
	case len(c.tried) > 0:
		out = conflict("%s", c.tried[0])
	}
	if c.proposal == nil {
		c.weigh(c.everything(files))
	}
	if c.proposal != nil {
		out.Proposal = c.proposal.changes
		out.Files = slices.Sorted(maps.Keys(out.Proposal))
		out.Why += "; with the change proposed here the workload would be known-good, but " + c.proposal.also()
	}
	return out
}

func (c *composer) done(changes map[string]*[]byte, why string) Result {
	if len(c.goes.shared) > 0 {
		why += "; left as at head, because others use it too: " + strings.Join(c.goes.shared, ", ")
	}
	return Result{Outcome: Changes, Changes: changes, Files: slices.Sorted(maps.Keys(changes)), Why: why}
}

// differing lists the files that determine the workload and that are not the
// same at good and at bad.
func (c *composer) differing() ([]string, error) {
	names := map[string]bool{}
	for _, t := range []tree.Tree{c.in.Good, c.in.Bad, c.in.Head} {
		files, err := c.determining(t)
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			names[name] = true
		}
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		good, _ := c.in.Good.BlobID(name)
		bad, _ := c.in.Bad.BlobID(name)
		if good != bad {
			files = append(files, name)
		}
	}
	return files, nil
}

func (c *composer) determining(t tree.Tree) ([]string, error) {
	if render.IsKustomize(t, c.in.Path) {
		return render.Reached(t, c.in.Path)
	}
	seen, err := see(t, c.in)
	if err != nil || seen.workload == nil {
		return nil, err
	}
	files := []string{seen.workload.Origin.File}
	for key := range c.goes.wanted {
		if file := seen.origins[key]; file != "" {
			files = append(files, file)
		}
	}
	return files, nil
}

// restore tries whole files: each alone, then all that are untouched since bad.
func (c *composer) restore(files []string) map[string]*[]byte {
	all := map[string]*[]byte{}
	for _, name := range files {
		bad, _ := c.in.Bad.BlobID(name)
		if head, _ := c.in.Head.BlobID(name); head != bad {
			continue
		}
		content, err := readOptional(c.in.Good, name)
		if err != nil {
			continue
		}
		all[name] = content
		if single := map[string]*[]byte{name: content}; c.proved(single) {
			return single
		}
	}
	if len(all) > 1 && c.proved(all) {
		return all
	}
	return nil
}

// everything is every differing file as it was at the known-good commit, whatever was made of it since.
func (c *composer) everything(files []string) map[string]*[]byte {
	all := map[string]*[]byte{}
	for _, name := range files {
		content, err := readOptional(c.in.Good, name)
		if _, exists := c.in.Head.BlobID(name); err != nil || content == nil && !exists {
			continue
		}
		all[name] = content
	}
	return all
}

func readOptional(t tree.Tree, name string) (*[]byte, error) {
	if _, exists := t.BlobID(name); !exists {
		return nil, nil
	}
	content, err := t.ReadFile(name)
	return &content, err
}

func (c *composer) proved(changes map[string]*[]byte) bool {
	err := c.prove(changes)
	if err != nil {
		c.tried = append(c.tried, err.Error())
	}
	return err == nil
}

// prove renders head with the changes and compares everything with what it is to be.
func (c *composer) prove(changes map[string]*[]byte) error {
	found := c.weigh(changes)
	switch {
	case found.err != nil:
		return found.err
	case len(found.besides) > 0:
		return errors.New("the revert would also change " + found.besides[0])
	}
	return nil
}
