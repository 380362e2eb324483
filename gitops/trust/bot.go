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
	known := map[string]bool{}
	for _, folder := range p.Folders {
		if err := onlyRestores(folder, trees, known); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if known[name] {
			continue
		}
		values := slices.DeleteFunc(slices.Clone(p.Values), func(v revert.Value) bool { return path.Clean(v.File) != name })
		if len(values) == 0 {
			return fmt.Errorf("it is signed by a bot, and changes %s, which no folder that a bot may restore is made of", name)
		}
		if err := onlyValues(name, values, trees); err != nil {
			return fmt.Errorf("it is signed by a bot, and may only bring back values of %s: %w", name, err)
		}
	}
	return nil
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

// onlyRestores checks the objects of a folder before and after a bot's commit against those of the good commit, and notes
// which files they are made of.
func onlyRestores(folder string, trees [3]tree.Tree, known map[string]bool) error {
	var objects [3]map[render.Key]any
	for i, t := range trees {
		rendered, err := render.Render(recorder{t, known}, folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("it is signed by a bot, and folder %s cannot be rendered: %w", folder, err)
		}
		objects[i] = map[render.Key]any{}
		for _, o := range rendered {
			objects[i][o.Key()] = o.Object
		}
	}
	before, after, good := objects[0], objects[1], objects[2]
	for _, all := range objects {
		for key := range all {
			if !restored(value(before, key), value(after, key), value(good, key)) {
				return fmt.Errorf("it is signed by a bot, and makes %s something else than it was before or at the commit that it restores", key)
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
