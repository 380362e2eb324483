package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/signature"
	"github.com/belay-delivery/belay/gitops/tree"
)

// maxRestored is how many files a bot may change at once.
const maxRestored = 200

var (
	trailerID       = regexp.MustCompile(`(?m)^Rollback-Id: [0-9A-Za-z-]{8,80}$`)
	trailerRestores = regexp.MustCompile(`(?m)^Restores: ([0-9a-f]{40})$`)
)

// restores checks that a bot's commit brings back what was there and does nothing else.
func (p Policy) restores(source Source, c signature.Commit, sha string) error {
	good, err := goodOf(source, c)
	if err != nil {
		return err
	}
	var trees [3]tree.Tree // before, after, good
	for i, name := range []string{c.Parents[0], sha, good} {
		if trees[i], err = source.Tree(name); err != nil {
			return fmt.Errorf("it is signed by a bot, and commit %s cannot be read: %w", name, err)
		}
	}
	changed, err := tree.Diff(trees[0], trees[1], maxRestored)
	if err != nil {
		return fmt.Errorf("it is signed by a bot, and its changes cannot be told: %w", err)
	}
	p = p.with(trees[0], changed)
	valued, problems := p.valued(trees, changed)
	for name := range valued {
		delete(changed, name)
	}
	// Who else reads these is given nothing but the named values: they are the same on all sides of what follows.
	b := brought{trees: [3]tree.Tree{tree.Overlay(trees[0], valued), trees[1], tree.Overlay(trees[2], valued)}, changed: changed}
	known := map[string]bool{}
	for _, folder := range p.Folders {
		read, err := b.folder(folder)
		if err != nil {
			return err
		}
		maps.Copy(known, read)
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		switch {
		case !known[name] && problems[name] != nil:
			return fmt.Errorf("it is signed by a bot, and may only bring back values of %s: %w", name, problems[name])
		case !known[name]:
			return fmt.Errorf("it is signed by a bot, and changes %s, which no folder that a bot may restore is made of", name)
		}
		if err := b.file(name); err != nil {
			return err
		}
	}
	return b.others()
}

// with is the policy with what the tree before a bot's commit declares to be reverted, as far as files are concerned that changed.
func (p Policy) with(before tree.Tree, changed map[string]string) Policy {
	b := brought{changed: changed}
	for _, d := range p.Declared {
		if slices.Contains(p.Folders, d.Folder) || !b.reads(before, d.Folder) {
			continue
		}
		if spec := d.in(before); spec != nil {
			p.Folders = append(slices.Clone(p.Folders), d.Folder)
			p.Values = append(slices.Clone(p.Values), revert.ValuesOf(spec)...)
		}
	}
	return p
}

// in is the revert of a Rollout as its folder declares it; nil where that does not.
func (d Declared) in(t tree.Tree) *v1alpha1.Revert {
	objects, err := render.Render(t, d.Folder)
	if err != nil {
		return nil
	}
	want := render.Key{Group: revert.Group, Kind: "Rollout", Namespace: d.Namespace, Name: d.Name}
	for _, o := range objects {
		if o.Key() != want {
			continue
		}
		declared, found, err := unstructured.NestedMap(o.Object, "spec", "onFailure", "revert")
		if err != nil || !found {
			return nil
		}
		var spec v1alpha1.Revert
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(declared, &spec)
		if err != nil || spec.Path == "" || path.Clean(spec.Path) != path.Clean(d.Folder) {
			return nil
		}
		return &spec
	}
	return nil
}

// valued are the changed files in which only values changed that a bot may bring back, as they are now, and what is wrong with others
// that have such values.
func (p Policy) valued(trees [3]tree.Tree, changed map[string]string) (valued map[string]*[]byte, problems map[string]error) {
	valued, problems = map[string]*[]byte{}, map[string]error{}
	for name := range changed {
		values := slices.DeleteFunc(slices.Clone(p.Values), func(v revert.Value) bool { return path.Clean(v.File) != name })
		if len(values) == 0 {
			continue
		}
		if err := onlyValues(name, values, trees); err != nil {
			problems[name] = err
		} else if now, err := trees[1].ReadFile(name); err == nil {
			valued[name] = &now
		}
	}
	return valued, problems
}

// onlyValues checks that a bot's commit changes a file of values only where it may, and to what the good commit has there.
func onlyValues(name string, values []revert.Value, trees [3]tree.Tree) error {
	var sides [3][]byte
	for i, t := range trees {
		var err error
		if sides[i], err = t.ReadFile(name); err != nil {
			return fmt.Errorf("reading it: %w", err)
		}
	}
	return revert.RestoresValues(name, values, sides[0], sides[1], sides[2])
}

// goodOf returns the commit that a bot's commit says it restores, which must be one before it.
func goodOf(source Source, c signature.Commit) (string, error) {
	message := strings.TrimRight(c.Message, "\n")
	last := message[strings.LastIndex(message, "\n\n")+1:]
	good := trailerRestores.FindStringSubmatch(last)
	switch {
	case !trailerID.MatchString(last) || good == nil:
		return "", errors.New("it is signed by a bot, and has no trailers Rollback-Id and Restores: a bot may only commit reverts")
	case len(c.Parents) != 1:
		return "", fmt.Errorf("it is signed by a bot, and has %d parents: a bot may only commit reverts", len(c.Parents))
	}
	before, err := reachable(source, c.Parents[0])
	if err != nil {
		return "", err
	}
	if !before[good[1]] {
		return "", fmt.Errorf("it is signed by a bot, and restores %s, which is not known to be a commit before it", good[1])
	}
	return good[1], nil
}

// brought is a bot's commit: the trees before and after it, that of the commit that it restores, and the files that it changes.
type brought struct {
	trees   [3]tree.Tree
	changed map[string]string
}

// folder checks what a folder renders to, and returns which files that is made of. One that can be rendered neither before nor
// after nobody can apply: it proves nothing, and spoils nothing.
func (b brought) folder(folder string) (map[string]bool, error) {
	read := map[string]bool{}
	var sides [3][]render.Object
	var errs [3]error
	for i, t := range b.trees {
		files := read
		if i == 2 {
			files = map[string]bool{} // what only the good commit is made of is no part of it now
		}
		if sides[i], errs[i] = render.Render(recorder{t, files}, folder); errors.Is(errs[i], fs.ErrNotExist) {
			errs[i] = nil
		}
	}
	touched := func(name string) bool { _, is := b.changed[name]; return read[name] && is }
	switch {
	case !slices.ContainsFunc(slices.Collect(maps.Keys(b.changed)), touched), errs[0] != nil && errs[1] != nil:
		return nil, nil
	case errs[1] != nil:
		return nil, fmt.Errorf("it is signed by a bot, and folder %s cannot be rendered any more: %w", folder, errs[1])
	case errs[2] != nil:
		sides[2] = sides[0] // nothing to go back to
	}
	return read, restoredObjects(sides, "folder "+folder)
}

// others checks every kustomization that reads a changed file: whoever applies it must not get what never was there.
func (b brought) others() error {
	folders := map[string]bool{}
	for _, t := range b.trees[:2] {
		found, err := render.Kustomizations(t)
		if err != nil {
			return fmt.Errorf("it is signed by a bot, and who else reads what it changes cannot be told: %w", err)
		}
		for _, folder := range found {
			folders[folder] = true
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		if !b.reads(b.trees[0], folder) && !b.reads(b.trees[1], folder) {
			continue
		}
		if _, err := b.folder(folder); err != nil {
			return err
		}
	}
	return nil
}

// reads says whether a folder reads a changed file, as far as what it reads can be told.
func (b brought) reads(t tree.Tree, folder string) bool {
	if clean, err := tree.Clean(folder); err == nil && !render.IsKustomize(t, clean) {
		return slices.ContainsFunc(slices.Collect(maps.Keys(b.changed)), func(name string) bool { return clean == "" || strings.HasPrefix(name, clean+"/") })
	}
	files, err := render.Reached(t, folder)
	return err == nil && slices.ContainsFunc(files, func(name string) bool { _, is := b.changed[name]; return is })
}

// file checks the objects that a changed file declares: it may be applied as it stands, without the kustomization that reads it.
// A file that declares none is judged by what is rendered from it.
func (b brought) file(name string) error {
	if render.IsKustomization(name) {
		return nil
	}
	var sides [3][]render.Object
	var errs [3]error
	for i, t := range b.trees {
		content, err := t.ReadFile(name)
		switch {
		case err == nil:
			sides[i], errs[i] = render.Parse(name, content)
		case !errors.Is(err, fs.ErrNotExist):
			errs[i] = err
		}
	}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return nil
	case errs[1] != nil:
		return fmt.Errorf("it is signed by a bot, and %s cannot be read any more: %w", name, errs[1])
	case errs[2] != nil:
		sides[2] = sides[0]
	}
	return restoredObjects(sides, name)
}

// restoredObjects checks that objects are as they were before, or go back to good.
func restoredObjects(sides [3][]render.Object, where string) error {
	var objects [3]map[render.Key]any
	for i, side := range sides {
		objects[i] = map[render.Key]any{}
		for _, o := range side {
			objects[i][o.Key()] = o.Object
		}
		if i == 1 && len(objects[i]) < len(side) {
			return fmt.Errorf("it is signed by a bot, and %s declares an object twice", where)
		}
	}
	before, after, good := objects[0], objects[1], objects[2]
	for _, all := range objects {
		for key := range all {
			if !restored(value(before, key), value(after, key), value(good, key)) {
				return fmt.Errorf("it is signed by a bot, and makes %s of %s something else than it was before or at the commit that it restores", key, where)
			}
		}
	}
	return nil
}

func value(objects map[render.Key]any, key render.Key) any {
	if found, has := objects[key]; has {
		return found
	}
	return nil
}

// restored says whether every difference between before and after is the value of good.
func restored(before, after, good any) bool {
	if reflect.DeepEqual(before, after) || reflect.DeepEqual(after, good) {
		return true
	}
	switch now := after.(type) {
	case map[string]any:
		old, oldOK := before.(map[string]any)
		was, wasOK := good.(map[string]any)
		if !oldOK || !wasOK {
			return false
		}
		keys := map[string]bool{}
		for _, m := range []map[string]any{now, old, was} {
			for key := range m {
				keys[key] = true
			}
		}
		for key := range keys {
			if !restored(old[key], now[key], was[key]) {
				return false
			}
		}
		return true
	case []any:
		old, oldOK := before.([]any)
		was, wasOK := good.([]any)
		return oldOK && wasOK && restoredList(old, now, was)
	}
	return false
}

// restoredList compares lists whose items have names by these, others item by item.
func restoredList(before, after, good []any) bool {
	old, oldOK := byName(before)
	now, nowOK := byName(after)
	was, wasOK := byName(good)
	if oldOK && nowOK && wasOK {
		return restored(old, now, was)
	}
	if len(before) != len(after) || len(good) != len(after) {
		return false
	}
	for i := range after {
		if !restored(before[i], after[i], good[i]) {
			return false
		}
	}
	return true
}

func byName(list []any) (map[string]any, bool) {
	out := map[string]any{}
	for _, item := range list {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, false
		}
		name, ok := object["name"].(string)
		if !ok || out[name] != nil {
			return nil, false
		}
		out[name] = object
	}
	return out, true
}

// recorder notes which files are read.
type recorder struct {
	tree.Tree
	read map[string]bool
}

// ReadFile notes the file and reads it.
func (r recorder) ReadFile(name string) ([]byte, error) {
	raw, err := r.Tree.ReadFile(name)
	if clean, cleanErr := tree.Clean(name); cleanErr == nil && err == nil {
		r.read[clean] = true
	}
	return raw, err
}
