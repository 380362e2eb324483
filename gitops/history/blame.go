package history

import (
	"errors"
	"fmt"
	"io/fs"
)

// Answer is which commit last changed a place.
type Answer struct {
	Commit Commit
	// Line of the value in the file at the head, from 1.
	Line int
	// Field that was found: the one asked for, or the nearest around it that the file has; "" is the document.
	Field string
	// Exact is false where the known history ends at Commit: the place was changed by it or before it.
	Exact bool
}

// Blame tells which commit last changed a place, as seen from a head that Advance has taken in. A file or document that the
// head does not have is fs.ErrNotExist. Commits of the walk are known; only files that changed are read from source.
func (x *Index) Blame(source Source, head string, place Place) (Answer, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known := x.rows[head]
	if !known {
		return Answer{}, fmt.Errorf("commit %s is not in the history: %w", head, fs.ErrNotExist)
	}
	files, err := source.Tree(head)
	if err != nil {
		return Answer{}, err
	}
	blob, found := files.BlobID(place.File)
	if !found {
		return Answer{}, fmt.Errorf("file %s of commit %s: %w", place.File, head, fs.ErrNotExist)
	}
	w := walk{index: x, source: source, place: place}
	value, err := w.value(head, blob)
	if err != nil {
		return Answer{}, err
	}
	if !value.found {
		return Answer{}, fmt.Errorf("%s of file %s of commit %s: %w", place.Document, place.File, head, fs.ErrNotExist)
	}
	w.place.Field = value.field
	for {
		next, step := w.step(at, blob, value)
		switch step {
		case stepOwn:
			return Answer{Commit: at.Commit, Line: value.line, Field: value.field, Exact: true}, nil
		case stepEnd:
			return Answer{Commit: at.Commit, Line: value.line, Field: value.field}, nil
		}
		at, blob = next.row, next.blob
	}
}

// walk is one question on its way through history.
type walk struct {
	index  *Index
	source Source
	place  Place
}

type verdict int

const (
	stepOn  verdict = iota // a parent has the same value
	stepOwn                // the commit changed it
	stepEnd                // the history ends here
)

// parent is where a walk goes on.
type parent struct {
	row  *row
	blob string
}

// step looks at the parents of a commit at which the file has the content blob, and the place a value.
func (w walk) step(at *row, blob string, value value) (parent, verdict) {
	if at.Cut {
		return parent{}, stepEnd
	}
	olds, changed := at.Changed[w.place.File]
	for i, sha := range at.Parents {
		old := blob
		if changed {
			old = olds[i]
		}
		if old != blob {
			same, err := w.same(sha, old, value)
			if err != nil {
				return parent{}, stepEnd
			}
			if !same {
				continue
			}
		}
		before, known := w.index.rows[sha]
		if !known {
			return parent{}, stepEnd
		}
		return parent{before, old}, stepOn
	}
	return parent{}, stepOwn
}

// same says whether the place has a value at another content of the file. Content that is no YAML has not.
func (w walk) same(sha, blob string, wanted value) (bool, error) {
	if blob == "" {
		return false, nil
	}
	found, err := w.value(sha, blob)
	if errors.Is(err, errParse) {
		return false, nil
	}
	return err == nil && found.found && found.field == wanted.field && found.digest == wanted.digest, err
}

// value reads the place at a content of the file, which the commit sha has.
func (w walk) value(sha, blob string) (value, error) {
	documents, kept := w.index.parsed.get(blob)
	if !kept {
		files, err := w.source.Tree(sha)
		if err != nil {
			return value{}, err
		}
		raw, err := files.ReadFile(w.place.File)
		if err != nil {
			return value{}, err
		}
		if documents, err = parseFile(w.place.File, raw); err != nil {
			return value{}, err
		}
		w.index.parsed.put(blob, documents)
	}
	return find(documents, w.place), nil
}
