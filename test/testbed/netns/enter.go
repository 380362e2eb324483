package netns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enter replaces this process by argv, inside the network and mount namespaces of process pid. It returns only if that fails.
//
// Root enters by itself. A user namespace cannot be joined by a program with more than one thread, and Go's always have several:
// there util-linux' nsenter does it.
func Enter(pid int, argv []string) error {
	if len(argv) == 0 {
		return fmt.Errorf("no command given")
	}
	if err := os.Setenv(markEnv, "1"); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return enterAsUser(pid, argv)
	}
	runtime.LockOSThread() // exec from this thread keeps this thread's namespaces
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leaving the shared folder state: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the current folder: %w", err)
	}
	for _, ns := range []struct {
		name string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}} {
		if err := join(pid, ns.name, ns.kind); err != nil {
			return err
		}
	}
	if err := os.Chdir(dir); err != nil { // joining a mount namespace goes to its root
		return fmt.Errorf("returning to %s: %w", dir, err)
	}
	return become(argv)
}

func join(pid int, name string, kind int) error {
	path := fmt.Sprintf("/proc/%d/ns/%s", pid, name)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), kind); err != nil {
		return fmt.Errorf("joining %s: %w", path, err)
	}
	return nil
}

func enterAsUser(pid int, argv []string) error {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("without root, entering the testbed's namespace needs nsenter (util-linux): %w", err)
	}
	full := append([]string{"nsenter", "--preserve-credentials", "--user", "--net", "--mount", "--wd=.", "--target", strconv.Itoa(pid), "--"}, argv...)
	return fmt.Errorf("starting %s: %w", path, syscall.Exec(path, full, os.Environ()))
}
