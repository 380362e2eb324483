package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// version of the form that is saved; another one is not read.
const version = "belay history 1"

// Save writes the Index, one commit a line.
func (x *Index) Save(out io.Writer) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	buffered := bufio.NewWriter(out)
	encoder := json.NewEncoder(buffered)
	if err := encoder.Encode(version); err != nil {
		return fmt.Errorf("saving history: %w", err)
	}
	for _, r := range x.rows {
		if err := encoder.Encode(r); err != nil {
			return fmt.Errorf("saving history: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("saving history: %w", err)
	}
	return nil
}

// Load reads what Save wrote into an empty Index. After an error the Index is empty still, and is to be built again.
func (x *Index) Load(in io.Reader) error {
	decoder := json.NewDecoder(in)
	var found string
	if err := decoder.Decode(&found); err != nil || found != version {
		return fmt.Errorf("loading history: it is not of the form %q", version)
	}
	rows := map[string]*row{}
	for {
		r := &row{}
		err := decoder.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.check()
		}
		if err != nil || len(rows) >= x.limit {
			return errors.Join(fmt.Errorf("loading history: commit %d", len(rows)), err)
		}
		rows[r.SHA] = r
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rows = rows
	return nil
}

func (r *row) check() error {
	if r.SHA == "" || len(r.Parents) > maxParents && !r.Cut {
		return errors.New("it is malformed")
	}
	for name, olds := range r.Changed {
		if len(olds) != len(r.Parents) {
			return fmt.Errorf("file %s has %d contents of %d parents", name, len(olds), len(r.Parents))
		}
	}
	return nil
}
