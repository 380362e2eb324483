package node

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this program be a container's process, too: one that leaves its work to a child.
func TestMain(m *testing.M) {
	switch os.Getenv("NODE_TEST_ROLE") {
	case "parent":
		child := exec.Command("/proc/self/exe")
		child.Env = []string{"NODE_TEST_ROLE=worker"}
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // by its parent alone it is known
		if err := child.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	case "worker":
		work := time.Now()
		for time.Since(work) < 3*time.Second {
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestUsageCountsChildren: a process whose child works uses the child's time, while it runs and once it has ended.
func TestUsageCountsChildren(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"NODE_TEST_ROLE=parent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var h history
	h.begin(cmd.Process.Pid)
	if _, known := h.usage(); known {
		t.Error("a rate is known before there are two readings")
	}
	var running, ended bool
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); !(running && ended); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("the child's work was seen: %v while it ran, %v after", running, ended)
		}
		all, err := readProcesses()
		if err != nil {
			t.Fatal(err)
		}
		child := false
		for _, p := range all {
			child = child || p.parent == cmd.Process.Pid
		}
		h.read(all, time.Now())
		u, known := h.usage()
		running = running || child && known && u.cpu > 0 && u.memory > 0
		ended = ended || running && !child && add(all, cmd.Process.Pid, time.Now()).cpu > 0
	}
	h.begin(0)
	if _, known := h.usage(); known {
		t.Error("a rate is known of a container that does not run")
	}
}

func TestUsage(t *testing.T) {
	at := time.Now()
	var h history
	h.begin(7)
	for second, cpu := range []time.Duration{0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 2100} {
		h.read(map[int]process{7: {parent: 1, group: 7, cpu: cpu * time.Millisecond, memory: 5}}, at.Add(time.Duration(second)*time.Second))
	}
	u, known := h.usage()
	if want := (2100. - 200) / 1000 / 10; !known || u.cpu != want || u.window != usageWindow || u.memory != 5 || !u.at.Equal(at.Add(12*time.Second)) {
		t.Errorf("got %+v, %v; want %v cores in the last 10 s", u, known, want)
	}
	h.read(map[int]process{7: {cpu: 1}}, at.Add(13*time.Second))
	if _, known := h.usage(); known {
		t.Error("processor time went back, and a rate is known all the same")
	}
}

func TestAddFindsTheTree(t *testing.T) {
	all := map[int]process{
		10: {parent: 1, group: 10, cpu: 1, memory: 1},
		11: {parent: 10, group: 11, cpu: 2, memory: 2},   // a child in a group of its own
		12: {parent: 11, group: 12, cpu: 4, memory: 4},   // a child's child
		13: {parent: 1, group: 10, cpu: 8, memory: 8},    // its parent has ended
		14: {parent: 1, group: 14, cpu: 16, memory: 16},  // another's
		15: {parent: 16, group: 15, cpu: 32, memory: 32}, // a circle
		16: {parent: 15, group: 16, cpu: 32, memory: 32},
	}
	if got := add(all, 10, time.Time{}); got.cpu != 15 || got.memory != 15 {
		t.Errorf("got %+v, want 15 of each", got)
	}
}

func TestParseStat(t *testing.T) {
	p, err := parseStat([]byte("42 (a) b) S 7 8 9 0 -1 4194304 100 0 0 0 11 12 13 14 20 0 5 0 999 1000 3 18446744073709551615"))
	if err != nil || p.parent != 7 || p.group != 8 || p.cpu != 500*time.Millisecond || p.memory != 3*int64(os.Getpagesize()) {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := parseStat([]byte("42 (a) S 7")); err == nil {
		t.Error("half a line was accepted")
	}
}
