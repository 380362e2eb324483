package testbed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long one process may take to end after SIGTERM.
const stopGrace = 20 * time.Second

// Process is one recorded process of a testbed. Its id may be another process's by now; its start time tells.
type Process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // boot id and clock ticks since then
	Log   string `json:"log,omitempty"`
}

// identify returns the record of the running process pid.
func identify(name string, pid int) (Process, error) {
	start, err := startTime(pid)
	return Process{Name: name, PID: pid, Start: start}, err
}

func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("looking at process %d: %w", pid, err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third on: the second may hold anything
	if len(fields) < 20 {
		return "", fmt.Errorf("looking at process %d: %d fields", pid, len(fields))
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return "", fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(boot)) + "/" + string(fields[19]), nil
}

// Alive tells whether this very process still runs.
func (p Process) Alive() bool {
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// end ends the process if it is still that one: SIGTERM, and SIGKILL after the grace.
func (p Process) end(grace time.Duration) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping %s (%d): %w", p.Name, p.PID, err)
	}
	if p.awaitEnd(grace) {
		return nil
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	if p.awaitEnd(5 * time.Second) {
		return nil
	}
	return fmt.Errorf("stopping %s (%d): it does not end", p.Name, p.PID)
}

func (p Process) awaitEnd(limit time.Duration) bool {
	for end := time.Now().Add(limit); p.Alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// record is the list of processes in a file, in the order of their start.
type record struct {
	path      string
	processes []Process
}

func recordIn(dir string) *record {
	return &record{path: filepath.Join(dir, "state", "processes.json")}
}

func (r *record) load() error {
	text, err := os.ReadFile(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r.processes)
	}
	if err != nil {
		return fmt.Errorf("reading the record of processes: %w", err)
	}
	return nil
}

func (r *record) add(p Process) error {
	r.processes = append(r.processes, p)
	return writeJSON(r.path, r.processes)
}

// endAll ends what of the record still runs, the last started first, and empties the record.
func (r *record) endAll(grace time.Duration) ([]Process, error) {
	var ended []Process
	var errs []error
	for i := len(r.processes) - 1; i >= 0; i-- {
		if p := r.processes[i]; p.Alive() {
			ended = append(ended, p)
			errs = append(errs, p.end(grace))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return ended, err
	}
	r.processes = nil
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return ended, fmt.Errorf("emptying the record of processes: %w", err)
	}
	return ended, nil
}

// writeJSON replaces the file at path so that no reader ever sees half of it.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

// spawn starts a process of the testbed: in its own process group, so that a terminal's Ctrl-C reaches only the testbed, with its
// output in logs/NAME.log, told to stop should this process die. The process is recorded before spawn returns. If it ends before
// Down, that is a failure of the testbed.
func (t *Testbed) spawn(name string, env []string, argv ...string) error {
	path := filepath.Join(t.info.Logs, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	if argv[0] == "/proc/self/exe" {
		cmd.Args[0] = "testbed"
	}
	cmd.Dir, cmd.Env = t.opts.Dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal follows the thread that started the process
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			t.ended(name, path, cmd.Wait())
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	p, err := identify(name, cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("starting %s: it ended at once; see %s", name, path)
	}
	p.Log = path
	return t.record.add(p)
}

func (t *Testbed) ended(name, log string, err error) {
	how := "exit code 0"
	if err != nil {
		how = err.Error()
	}
	select {
	case t.failed <- fmt.Errorf("%s ended by itself (%s); the end of %s:\n%s", name, how, log, tailOf(log)):
	default:
	}
}

// tailOf returns the last lines of a log.
func tailOf(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func port(n int) string { return strconv.Itoa(n) }
