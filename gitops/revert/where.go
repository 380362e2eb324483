package revert

import (
	"errors"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/belay-delivery/belay/gitops/render"
	"github.com/belay-delivery/belay/gitops/tree"
)

// Elsewhere is the revision of a tree whose values are those of no revision that is known.
const Elsewhere = "another"

// Where is where in a repository a workload is declared.
type Where struct {
	Workload Workload
	// Path is the folder that renders to the workload; "" where none does: Values then say what is declared, as Known tells.
	Path string
	// Values go back with the workload.
	Values []Value
	// Known are pod templates, as decoded JSON, by revision.
	Known map[string]map[string]any
}

// RevisionAt is the workload's revision in a tree, "" where it is not declared, Elsewhere where only values are and they are those of
// no known revision.
func (w Where) RevisionAt(t tree.Tree) (string, error) {
	if w.Path != "" || len(w.Values) == 0 {
		return RevisionAt(t, w.Path, w.Workload)
	}
	files := reader{tree: t}
	found := Elsewhere
	for revision, template := range w.Known {
		differs, err := files.unlike(w.Values, template)
		switch {
		case err != nil:
			return "", err
		case differs != nil:
		case found != Elsewhere:
			return "", fmt.Errorf("the values named by onFailure.revert.values are the same in revisions %s and %s: what differs comes from elsewhere",
				min(found, revision), max(found, revision))
		default:
			found = revision
		}
	}
	return found, nil
}

// agrees tells whether the values of a tree are those that its folder renders to: a rendered output that is committed later than
// the values behind it does not agree for a while.
func (w Where) agrees(t tree.Tree) bool {
	if w.Path == "" || len(w.Values) == 0 {
		return true
	}
	seen, err := see(t, Input{Path: w.Path, Workload: w.Workload})
	if err != nil {
		return false
	}
	differs, err := (&reader{tree: t}).unlike(w.Values, seen.template)
	return err == nil && differs == nil
}

// valued sets the values back to good on top of head. With a folder, that is the head on which the folder's revert is composed.
func (in Input) valued() (map[string]*[]byte, error) {
	good, bad := in.Known[in.GoodRevision], in.Known[in.BadRevision]
	if in.Path != "" {
		for _, side := range []struct {
			from tree.Tree
			to   *map[string]any
		}{{in.Good, &good}, {in.Bad, &bad}} {
			seen, err := see(side.from, in)
			if err != nil {
				return nil, err
			}
			*side.to = seen.template
		}
	}
	if good == nil || bad == nil {
		return nil, errors.New("the pod template of the good or of the bad revision is not known")
	}
	for _, side := range []struct {
		name, what string
		at         tree.Tree
		template   map[string]any
	}{{"known-good", "good", in.Good, good}, {"bad", "bad", in.Bad, bad}} {
		differs, err := (&reader{tree: side.at}).unlike(in.Values, side.template)
		if err != nil {
			return nil, fmt.Errorf("the %s commit: %w", side.name, err)
		}
		if differs != nil {
			return nil, fmt.Errorf("%s is not what the %s revision has there, at the commit that declares it: is the mapping in onFailure.revert.values right?", differs, side.what)
		}
	}
	changes, err := in.spliceValues(false)
	if err == nil {
		err = in.proveValues(changes, good)
	}
	if err != nil { // an alias may be in the way
		if again, retryErr := in.spliceValues(true); retryErr == nil && in.proveValues(again, good) == nil {
			return again, nil
		}
		return nil, err
	}
	return changes, nil
}

func (in Input) spliceValues(expand bool) (map[string]*[]byte, error) {
	files, err := places(in.Values)
	if err != nil {
		return nil, err
	}
	changes := map[string]*[]byte{}
	for name, paths := range files {
		skipped := false
		m := merger{expand: expand, skipped: &skipped}
		for _, side := range []struct {
			to   **source
			from tree.Tree
		}{{&m.good, in.Good}, {&m.bad, in.Bad}, {&m.head, in.Head}} {
			if *side.to, err = readSource(side.from, name); err != nil {
				return nil, err
			}
		}
		var edits []edit
		for _, steps := range paths {
			more, err := m.at(steps)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			edits = append(edits, more...)
		}
		if len(edits) == 0 {
			continue
		}
		content, err := m.head.apply(edits)
		if err != nil {
			return nil, err
		}
		changes[name] = &content
	}
	return changes, nil
}

// at merges the value of one place.
func (m merger) at(steps []step) ([]edit, error) {
	var parents three
	for _, side := range []struct {
		from *source
		to   **yaml.Node
	}{{m.good, &parents.good}, {m.bad, &parents.bad}, {m.head, &parents.head}} {
		root, err := side.from.holder(steps)
		if err != nil {
			return nil, err
		}
		*side.to = resolve(follow(root, steps[:len(steps)-1]))
	}
	last, path := steps[len(steps)-1], stepsText(steps)
	n := three{last.down(parents.good), last.down(parents.bad), last.down(parents.head)}
	flow := parents.head.Style&yaml.FlowStyle != 0
	switch {
	case n.good == nil && n.bad == nil && n.head == nil:
		return nil, nil
	case parents.head.Kind == yaml.MappingNode && !flow:
		return m.one(pairs(parents.good), pairs(parents.bad), pairs(parents.head), last.key, parentText(steps))
	case n.good == nil || n.bad == nil || n.head == nil:
		return nil, fmt.Errorf("%s: %w", path, errShape)
	}
	return m.node(n, place{indent: m.head.column(m.head.start(parents.head)), flow: flow}, path)
}

func parentText(steps []step) string { return stepsText(steps[:len(steps)-1]) }

// proveValues reads head with the changes: the values must be good's, and nothing else of the files another than at head.
func (in Input) proveValues(changes map[string]*[]byte, good map[string]any) error {
	files, err := places(in.Values)
	if err != nil {
		return err
	}
	after := tree.Overlay(in.Head, changes)
	differs, err := (&reader{tree: after}).unlike(in.Values, good)
	if err != nil {
		return err
	}
	if differs != nil {
		return fmt.Errorf("%s would still not be what the known-good revision has there", differs)
	}
	for name := range changes {
		before, err := in.Head.ReadFile(name)
		if err != nil {
			return err
		}
		if err := onlyAt(name, before, *changes[name], files[name]); err != nil {
			return err
		}
	}
	return nil
}

// onlyAt checks that two versions of a file differ in nothing but some places.
func onlyAt(name string, before, after []byte, paths [][]step) error {
	var sides [2][]any
	for i, content := range [][]byte{before, after} {
		documents, err := render.Documents(name, content)
		if err != nil {
			return err
		}
		for _, document := range documents {
			var decoded any
			if err := document.Decode(&decoded); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, steps := range paths {
				put(decoded, steps, nil)
			}
			sides[i] = append(sides[i], decoded)
		}
	}
	if !reflect.DeepEqual(sides[0], sides[1]) {
		return fmt.Errorf("%s would change in other places than those named by onFailure.revert.values", name)
	}
	return nil
}

// RestoresValues checks that a new version of a file differs from the one before it only in places of these Values, and has there
// what a good version has.
func RestoresValues(name string, values []Value, before, after, good []byte) error {
	files, err := places(values)
	if err != nil {
		return err
	}
	if err := onlyAt(name, before, after, files[name]); err != nil {
		return err
	}
	var sides [3]*source
	for i, content := range [][]byte{before, after, good} {
		if sides[i], err = newSource(name, content); err != nil {
			return err
		}
	}
	for _, steps := range files[name] {
		var is [3]string
		for i, s := range sides {
			if is[i], err = s.value(steps); err != nil {
				return err
			}
		}
		if is[1] != is[0] && is[1] != is[2] {
			return fmt.Errorf("%s: %s becomes something else than it was before or at the commit that is restored", name, stepsText(steps))
		}
	}
	return nil
}
