package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end after SIGTERM.
const stopGrace = 30 * time.Second

// Process is a process that was started here. Its id may be another process's by now; its start time tells.
type Process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // boot id and clock ticks since then
	Log   string `json:"log"`
}

// Alive tells whether this very process still runs.
func (p Process) Alive() bool {
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// Kill ends the process without giving it a chance, as a crash does, and returns when it is gone.
func (p Process) Kill() error { return p.end(syscall.SIGKILL, 5*time.Second) }

// Stop asks the process to end, and kills it if it takes longer than half a minute.
func (p Process) Stop() error {
	if err := p.end(syscall.SIGTERM, stopGrace); err != nil {
		return p.Kill()
	}
	return nil
}

func (p Process) end(signal syscall.Signal, limit time.Duration) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping %s (%d): %w", p.Name, p.PID, err)
	}
	for end := time.Now().Add(limit); p.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("stopping %s (%d): it has not ended after %s", p.Name, p.PID, limit)
		}
	}
	return nil
}

// Tail returns the last lines of the process's log.
func (p Process) Tail(lines int) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("looking at process %d: %w", pid, err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the name before it may hold anything
	if len(fields) < 20 || fields[0][0] == 'Z' {
		return "", fmt.Errorf("looking at process %d: %w", pid, os.ErrProcessDone)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(boot)) + "/" + string(fields[19]), nil
}

// Ledger is the list of processes started, kept in a file.
type Ledger struct {
	path string
	mu   sync.Mutex
}

// LedgerIn is the ledger of a folder.
func LedgerIn(dir string) *Ledger { return &Ledger{path: filepath.Join(dir, "processes.json")} }

// Start starts a process in a session of its own, with its output going to the log, and enters it.
func (l *Ledger) Start(name, log string, cmd *exec.Cmd) (Process, error) {
	p := Process{Name: name, Log: log}
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return p, fmt.Errorf("making the folder of logs: %w", err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return p, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return p, fmt.Errorf("starting %s: %w", name, err)
	}
	p.PID = cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // so that it does not stay a zombie; how it ended is in its log
	if p.Start, err = startTime(p.PID); err != nil {
		return p, fmt.Errorf("%s ended at once: %s", name, p.Tail(5))
	}
	return p, l.change(func(all []Process) []Process { return append(all, p) })
}

func (l *Ledger) change(f func([]Process) []Process) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, err := l.read()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(f(all), func(p Process) bool { return !p.Alive() })
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the ledger: %w", err)
	}
	if err := os.WriteFile(l.path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	return nil
}

func (l *Ledger) read() ([]Process, error) {
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Process
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of processes: %w", err)
	}
	return all, nil
}

// StopAll ends what of the ledger still runs, the last first, and returns it.
func (l *Ledger) StopAll() ([]Process, error) {
	all, err := l.read()
	if err != nil {
		return nil, err
	}
	var ended []Process
	var errs []error
	for _, p := range slices.Backward(all) {
		if p.Alive() {
			errs = append(errs, p.Stop())
			ended = append(ended, p)
		}
	}
	if len(all) > 0 {
		errs = append(errs, l.change(func(all []Process) []Process { return all }))
	}
	return ended, errors.Join(errs...)
}
