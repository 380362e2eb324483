package testbed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/belay-delivery/belay/test/testbed/netns"
	"github.com/belay-delivery/belay/test/testbed/parts"
)

const (
	infoFile = "testbed.json"
	marker   = "state" // a folder that only a testbed's folder has
)

// Testbed is a running testbed.
type Testbed struct {
	opts   Options
	info   Info
	slot   *netns.Slot
	record *record
	failed chan error
	since  time.Time
}

// Up cleans up what an earlier testbed left in the folder, starts a new one there and returns when all of it works. It has to be
// called inside a namespace of package netns. If it fails, nothing of it keeps running.
func Up(ctx context.Context, o Options) (*Testbed, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if _, err := Clean(dir); err != nil {
		return nil, err
	}
	t := &Testbed{opts: o, record: recordIn(dir), failed: make(chan error, 1), since: time.Now()}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	bounded, abort := context.WithCancelCause(bounded)
	defer abort(nil)
	go func() { // a part that dies while the others are waited for ends the waiting
		select {
		case err := <-t.failed:
			abort(err)
		case <-bounded.Done():
		}
	}()
	if err := t.start(bounded); err != nil {
		if cause := context.Cause(bounded); cause != nil && bounded.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return nil, errors.Join(err, t.Down(context.WithoutCancel(ctx)))
	}
	t.info.ReadySeconds = time.Since(t.since).Seconds()
	t.info.Processes = t.record.processes
	if err := writeJSON(filepath.Join(dir, infoFile), t.info); err != nil {
		return nil, errors.Join(err, t.Down(context.WithoutCancel(ctx)))
	}
	t.say("ready")
	return t, nil
}

// Info says where everything is.
func (t *Testbed) Info() Info { return t.info }

// Failed delivers the error of the first part that ended by itself.
func (t *Testbed) Failed() <-chan error { return t.failed }

// Down stops everything that Up started, the last first.
func (t *Testbed) Down(context.Context) error {
	if err := removeInfo(t.opts.Dir); err != nil {
		return err
	}
	_, err := t.record.endAll(stopGrace)
	if t.slot != nil {
		err = errors.Join(err, t.slot.Close())
	}
	t.say("stopped")
	return err
}

// Clean ends the processes that a testbed in dir left behind, the keeper of a running one included, and returns them.
func Clean(dir string) ([]Process, error) {
	r := recordIn(dir)
	if err := r.load(); err != nil {
		return nil, err
	}
	info, _ := ReadInfo(dir) // there may be none: it only says how many processes the keeper has to stop
	keeper, err := readKeeper(dir)
	if err != nil {
		return nil, err
	}
	var ended []Process
	if keeper.PID != os.Getpid() && keeper.Alive() {
		ended = append(ended, keeper)
		grace := time.Duration(len(info.Processes)+1) * stopGrace
		if err := keeper.end(grace); err != nil { // it stops its own processes, in the right order
			return nil, err
		}
		if err := reload(r); err != nil {
			return nil, err
		}
	}
	left, err := r.endAll(stopGrace)
	return append(ended, left...), errors.Join(err, removeInfo(dir))
}

func reload(r *record) error {
	r.processes = nil
	return r.load()
}

func removeInfo(dir string) error {
	if err := os.Remove(filepath.Join(dir, infoFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", infoFile, err)
	}
	return nil
}

// ReadInfo returns what testbed.json in dir says; there is one only while a testbed is ready.
func ReadInfo(dir string) (Info, error) {
	var info Info
	text, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return info, fmt.Errorf("no testbed is ready in %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("reading %s: %w", infoFile, err)
	}
	return info, nil
}

func keeperFile(dir string) string { return filepath.Join(dir, marker, "keeper.json") }

func readKeeper(dir string) (Process, error) {
	var p Process
	text, err := os.ReadFile(keeperFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, fmt.Errorf("reading the record of the testbed's keeper: %w", err)
	}
	return p, nil
}

// prepare makes the folder anew, records who keeps it, claims addresses and finds the programs.
func (t *Testbed) prepare(ctx context.Context) error {
	dir := t.opts.Dir
	if err := empty(dir); err != nil {
		return err
	}
	for _, sub := range []string{marker, "logs", "git", "images", "assets"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("making the testbed's folder: %w", err)
		}
	}
	keeper, err := identify("testbed", os.Getpid())
	if err != nil {
		return err
	}
	if err := writeJSON(keeperFile(dir), keeper); err != nil {
		return err
	}
	builder, err := parts.NewBuilder(t.opts.Out)
	if err != nil {
		return err
	}
	programs := map[string]string{}
	if needs := Needs(t.opts.Components); len(needs) > 0 {
		if programs, err = builder.Ensure(ctx, needs...); err != nil {
			return err
		}
	}
	if t.slot, err = netns.Claim(); err != nil {
		return err
	}
	t.info = Info{Dir: dir, PID: os.Getpid(), Components: t.opts.Components, Programs: programs, Logs: filepath.Join(dir, "logs")}
	return nil
}

// empty removes an earlier testbed's files, and refuses a folder that holds anything else.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the testbed's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
		return fmt.Errorf("%s is neither empty nor a testbed's folder", dir)
	}
	for _, sub := range []string{"controlplane", "prometheus", "git", "images", "assets", "pods", marker} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			return fmt.Errorf("removing an earlier testbed: %w", err)
		}
	}
	return nil
}

func (t *Testbed) say(what string) {
	fmt.Fprintf(t.opts.Out, "testbed: %5.1fs %s\n", time.Since(t.since).Seconds(), what)
}

// await asks until the answer is yes or ctx ends; the last answer's error says what was missing.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-tick.C:
		}
	}
}

// answers returns nil if a GET of url is answered with 200.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

func newPassword() string { return rand.Text() }
