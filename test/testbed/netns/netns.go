package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// markEnv is set for every process started in a namespace of ours, and for none outside.
const markEnv = "BELAY_TESTBED_NETNS"

// stageEnv tells a re-executed program that it is the first process of a fresh namespace, which is still to be furnished.
const stageEnv = "BELAY_TESTBED_STAGE"

// local is what is made local in the namespace; cluster addresses (10.96.0.0/16) stay outside it.
var local = net.IPNet{IP: net.IPv4(10, 240, 0, 0).To4(), Mask: net.CIDRMask(12, 32)}

// Inside tells whether this process runs in a namespace made by this package.
func Inside() bool {
	if os.Getenv(markEnv) == "" {
		return false
	}
	l, err := net.Listen("tcp4", "10.255.255.254:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Command returns a command that runs argv in a fresh namespace, furnished by this very program: its main must call Init first.
// The caller may set the command's streams, folder and environment before it starts it.
func Command(argv []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// Init does nothing in an ordinary process. In the first process of a fresh namespace it furnishes the namespace, then becomes the
// program that Command was given; it does not return.
func Init() {
	if os.Getenv(stageEnv) == "" {
		return
	}
	_ = os.Unsetenv(stageEnv)
	err := furnish()
	if err == nil {
		_ = os.Setenv(markEnv, "1")
		err = become(os.Args[1:])
	}
	fmt.Fprintln(os.Stderr, "testbed:", err)
	os.Exit(126)
}

func become(argv []string) error {
	if len(argv) == 0 {
		return errors.New("no command given")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("looking for %s: %w", argv[0], err)
	}
	return fmt.Errorf("starting %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// furnish brings up the loopback device, makes the pods' addresses local and takes the resolver away.
func furnish() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing up the loopback device: %w", err)
	}
	route := netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: &local, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if err := netlink.RouteAdd(&route); err != nil {
		return fmt.Errorf("making %s local: %w", &local, err)
	}
	return hideResolver()
}

func hideResolver() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	resolv, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the resolver's configuration: %w", err)
	}
	if err := unix.Mount("/dev/null", resolv, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hiding %s: %w", resolv, err)
	}
	return nil
}

// Run runs cmd to its end, handing it the signals that this process gets, and returns its exit code. It dies with this process.
func Run(ctx context.Context, cmd *exec.Cmd) (int, error) {
	runtime.LockOSThread() // the death signal follows the thread that started the child
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, explain(err)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-ctx.Done():
				_ = cmd.Process.Signal(syscall.SIGTERM)
				return
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

func explain(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("making a network namespace: %w; it needs root, or unprivileged user namespaces "+
			"(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces>0)", err)
	}
	return fmt.Errorf("starting: %w", err)
}
