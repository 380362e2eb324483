package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	readEvery                                = time.Second
	usageWindow                              = 10 * time.Second      // a rate is taken over so long at most
	clockTick                                = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	statFields                               = 22                    // of /proc/PID/stat after the name, as far as they are needed
	statParent, statGroup, statUser, statRSS = 1, 2, 11, 21          // counted from the state, which is 0
)

// process is what /proc says of one process.
type process struct {
	parent, group int
	cpu           time.Duration // its own, and that of its children that have ended
	memory        int64         // resident, in bytes
}

// readProcesses reads all processes of this machine; one that ends meanwhile is left out.
func readProcesses() (map[int]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	out := make(map[int]process, len(files))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		if out[pid], err = parseStat(text); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f, err)
		}
	}
	return out, nil
}

func parseStat(text []byte) (process, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // the name before may hold anything
	if len(fields) < statFields {
		return process{}, fmt.Errorf("%d fields, want %d", len(fields), statFields)
	}
	var numbers [statFields]int64
	for _, i := range []int{statParent, statGroup, statUser, statUser + 1, statUser + 2, statUser + 3, statRSS} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return process{}, fmt.Errorf("field %d: %w", i, err)
		}
		numbers[i] = n
	}
	ticks := numbers[statUser] + numbers[statUser+1] + numbers[statUser+2] + numbers[statUser+3]
	return process{
		parent: int(numbers[statParent]), group: int(numbers[statGroup]),
		cpu: time.Duration(ticks) * clockTick, memory: numbers[statRSS] * int64(os.Getpagesize()),
	}, nil
}

// reading is what a container has used up to a moment.
type reading struct {
	at     time.Time
	cpu    time.Duration
	memory int64
}

// add adds up the processes that descend from root, or are in its process group still when their parent has ended.
func add(all map[int]process, root int, at time.Time) reading {
	r := reading{at: at}
	for pid, p := range all {
		if pid == root || p.group == root || descends(all, pid, root) {
			r.cpu += p.cpu
			r.memory += p.memory
		}
	}
	return r
}

func descends(all map[int]process, pid, root int) bool {
	for range len(all) { // what is read while processes come and go may hold a circle
		p, known := all[pid]
		if !known || p.parent <= 1 {
			return false
		}
		if pid = p.parent; pid == root {
			return true
		}
	}
	return false
}

// usage is a container's consumption over the window that ends at a moment.
type usage struct {
	at     time.Time
	window time.Duration
	cpu    float64 // cores
	memory int64   // bytes, at the end of the window
}

// history holds the last readings of one run of a container.
type history struct {
	mu       sync.Mutex
	pid      int // 0: it does not run
	readings []reading
}

// begin is called with the process of a new run, and with 0 at its end.
func (h *history) begin(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pid, h.readings = pid, nil
}

// read adds a reading of the run, if there is one.
func (h *history) read(all map[int]process, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, runs := all[h.pid]; h.pid == 0 || !runs {
		return
	}
	now := add(all, h.pid, at)
	if n := len(h.readings); n > 0 && now.cpu < h.readings[n-1].cpu {
		h.readings = nil // a descendant has ended for which nobody waited: its time is lost
	}
	h.readings = append(h.readings, now)
	for len(h.readings) > 2 && at.Sub(h.readings[0].at) > usageWindow {
		h.readings = h.readings[1:]
	}
}

// usage returns false while a run is too young for a rate.
func (h *history) usage() (usage, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid == 0 || len(h.readings) < 2 {
		return usage{}, false
	}
	first, last := h.readings[0], h.readings[len(h.readings)-1]
	window := last.at.Sub(first.at)
	return usage{at: last.at, window: window, cpu: (last.cpu - first.cpu).Seconds() / window.Seconds(), memory: last.memory}, true
}
