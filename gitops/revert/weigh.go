package revert

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

// attempt is what a set of changes does.
type attempt struct {
	changes map[string]*[]byte
	// err says why the workload would not be known-good.
	err error
	// besides are the things that would change and must not.
	besides []string
}

// maxNamed is how many things that a proposal also changes are named.
const maxNamed = 8

func (a *attempt) also() string {
	switch n := len(a.besides); {
	case n == 0:
		return "edits made since in the same places would be undone"
	case n > maxNamed:
		return fmt.Sprintf("these would change too: %s, and %d more", strings.Join(a.besides[:maxNamed], ", "), n-maxNamed)
	}
	return "these would change too: " + strings.Join(a.besides, ", ")
}

// weigh renders head with the changes, says what that does, and remembers the best that makes the workload known-good.
func (c *composer) weigh(changes map[string]*[]byte) *attempt {
	out := &attempt{changes: changes}
	after := tree.Overlay(c.in.Head, changes)
	seen, err := see(after, c.in)
	switch {
	case err != nil:
		out.err = fmt.Errorf("with the revert the folder no longer renders: %w", err)
		return out
	case seen.revision != c.in.GoodRevision:
		out.err = fmt.Errorf("with the revert the workload would be revision %q, not %s: other commits changed its template too",
			seen.revision, c.in.GoodRevision)
	case !reflect.DeepEqual(seen.rest, c.head.rest):
		out.besides = append(out.besides, "fields of the workload outside its pod template")
	}
	out.besides = append(out.besides, c.strays(seen)...)
	elsewhere, err := c.elsewhere(changes, after)
	if err != nil {
		out.err = err
	}
	out.besides = append(out.besides, elsewhere...)
	if out.err == nil && (c.proposal == nil || len(out.besides) < len(c.proposal.besides)) {
		c.proposal = out
	}
	return out
}

// strays are the other objects that are not as they are to be.
func (c *composer) strays(seen sight) []string {
	keys := maps.Clone(c.head.others)
	maps.Copy(keys, seen.others)
	maps.Copy(keys, c.goes.wanted)
	var out []string
	for _, key := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		_, ours := c.goes.wanted[key]
		if ours && c.goes.is(key, seen.others[key]) || !ours && reflect.DeepEqual(c.head.others[key], seen.others[key]) {
			continue
		}
		if ours {
			out = append(out, key.String()+" other than to its known-good content")
			continue
		}
		out = append(out, key.String())
	}
	return out
}

// elsewhere renders every other kustomization of the repository that reads
// one of the changed files, and every other folder that is applied by itself: a base shared with another environment must not
// carry the revert there. It returns the folders that would change.
func (c *composer) elsewhere(changes map[string]*[]byte, after tree.Tree) (changed []string, err error) {
	if c.overlays == nil {
		folders, err := others(c.in.Head, c.in.Path, c.in.Applied)
		if err != nil {
			return nil, err
		}
		c.overlays = folders
	}
	for _, folder := range c.overlays {
		if !c.reads(folder, changes, after) {
			continue
		}
		before, errBefore := render.Render(c.in.Head, folder)
		now, errAfter := render.Render(after, folder)
		if errBefore != nil && errAfter != nil {
			continue
		}
		if errBefore != nil || errAfter != nil || render.Digest(before) != render.Digest(now) {
			changed = append(changed, fmt.Sprintf("folder %s, which shares a file with this one", folder))
		}
	}
	return changed, nil
}

// reads says that a folder reads one of the changed files. What it reads can become other files only where one of those
// that it reads has changed, so head's list is enough, unless head does not render.
func (c *composer) reads(folder string, changes map[string]*[]byte, after tree.Tree) bool {
	if !render.IsKustomize(c.in.Head, folder) {
		return slices.ContainsFunc(slices.Collect(maps.Keys(changes)), func(name string) bool { return inside(name, folder) })
	}
	files, known := c.reached[folder]
	if !known {
		var err error
		if files, err = render.Reached(c.in.Head, folder); err != nil {
			files = nil
		}
		if c.reached == nil {
			c.reached = map[string][]string{}
		}
		c.reached[folder] = files
	}
	if files == nil {
		now, err := render.Reached(after, folder)
		if err != nil {
			return false
		}
		files = now
	}
	return slices.ContainsFunc(files, func(name string) bool { _, changed := changes[name]; return changed })
}

// others lists the folders with a kustomization, but for one and for those that it is made of, and those that are applied by themselves,
// but for that one.
func others(t tree.Tree, except string, applied []string) ([]string, error) {
	itself, err := tree.Clean(except)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{itself: true}
	if files, err := render.Reached(t, except); err == nil {
		for _, name := range files {
			if dir, err := tree.Clean(path.Dir(name)); err == nil {
				own[dir] = true
			}
		}
	}
	folders, err := render.Kustomizations(t)
	if err != nil {
		return nil, fmt.Errorf("looking for other folders that share files: %w", err)
	}
	folders = slices.DeleteFunc(folders, func(dir string) bool { return own[dir] })
	for _, dir := range applied {
		clean, err := tree.Clean(dir)
		plainAround := err == nil && !render.IsKustomize(t, clean) && inside(itself, clean)
		if err == nil && clean != itself && !plainAround { // plain YAML around this folder declares the workload as well
			folders = append(folders, clean)
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders), nil
}

// inside says that a path is in a folder, at any depth.
func inside(name, folder string) bool { return folder == "" || strings.HasPrefix(name, folder+"/") }
