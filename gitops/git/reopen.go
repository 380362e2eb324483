package git

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// stateFile says what a store on disk holds. It is written last, so that it never speaks of what is not there.
const stateFile = "state.json"

type savedState struct {
	Generation int            `json:"generation"`
	Packs      int            `json:"packs"`
	Bytes      int64          `json:"bytes"`
	Shallow    []string       `json:"shallow"`
	Haves      []string       `json:"haves"`
	Depths     map[string]int `json:"depths"`
}

func (s *Store) save() error {
	if s.dir == "" {
		return nil
	}
	state := savedState{Generation: s.numbers, Packs: s.now.packs, Bytes: s.now.bytes, Depths: map[string]int{}}
	for h := range s.now.shallow {
		state.Shallow = append(state.Shallow, h.String())
	}
	for _, h := range s.now.haves {
		state.Haves = append(state.Haves, h.String())
		state.Depths[h.String()] = s.now.depths[h]
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("saving the store's state: %w", err)
	}
	return WriteFile(filepath.Join(s.dir, stateFile), raw)
}

// WriteFile writes a file at once or not at all.
func WriteFile(name string, raw []byte) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	return nil
}

// reopen takes up what an earlier process has left, if all that it says it has can be read.
func (s *Store) reopen() error {
	raw, err := os.ReadFile(filepath.Join(s.dir, stateFile))
	if err != nil {
		return fmt.Errorf("reopening: %w", err)
	}
	var state savedState
	if err := json.Unmarshal(raw, &state); err != nil || state.Generation < 1 || len(state.Haves) == 0 {
		return errors.Join(errors.New("reopening: the state cannot be read"), err)
	}
	g := &generation{
		dir: filepath.Join(s.dir, fmt.Sprint(state.Generation)), packs: state.Packs, bytes: state.Bytes,
		shallow: map[plumbing.Hash]bool{}, depths: map[plumbing.Hash]int{},
	}
	g.open()
	for _, name := range state.Shallow {
		g.shallow[plumbing.NewHash(name)] = true
	}
	for _, name := range state.Haves {
		hash := plumbing.NewHash(name)
		commit, err := object.GetCommit(g.objects, hash)
		if err == nil {
			_, err = object.GetTree(g.objects, commit.TreeHash)
		}
		if err != nil {
			return fmt.Errorf("reopening: %w", err)
		}
		g.haves, g.depths[hash] = append(g.haves, hash), state.Depths[name]
	}
	s.now, s.numbers = g, state.Generation
	return nil
}
