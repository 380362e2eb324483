package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/belay-delivery/belay/test/stage"
)

// outside prepares what the story needs, has it told inside the testbed's network, and cleans up.
func outside(ctx context.Context, s settings) error {
	if s.down {
		return stopAll(ctx, s, true)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	unlock, err := lock(s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := prepare(ctx, s); err != nil {
		return errors.Join(err, stopAll(context.WithoutCancel(ctx), s, false))
	}
	err = inside(ctx, s)
	if s.keep && ctx.Err() == nil {
		return err
	}
	return errors.Join(err, stopAll(context.WithoutCancel(ctx), s, false))
}

// lock keeps a second demo out of the folder.
func lock(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the demo's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another demo runs in %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// prepare builds what is missing and starts the testbed, side by side with the building of Belay.
func prepare(ctx context.Context, s settings) error {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	say("building the testbed's command")
	if err := stage.BuildTestbed(ctx, s.root, s.bin()); err != nil {
		return err
	}
	if err := stopAll(ctx, s, true); err != nil {
		return err
	}
	for _, old := range []string{s.work(), s.report()} {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("removing an earlier demo's files: %w", err)
		}
	}
	testbed := filepath.Join(s.bin(), "testbed")
	if exec.CommandContext(ctx, testbed, "build", "--check").Run() != nil {
		say("building control plane, gateway and Prometheus from source: once for this machine, 20 to 30 min on two cores")
	}
	if err := command(ctx, testbed, "build").Run(); err != nil {
		return fmt.Errorf("building the testbed's parts: %w", err)
	}
	say("starting etcd, API server, node, gateway, Prometheus and Git server (about 12 s), building Belay meanwhile")
	built := make(chan error, 1)
	go func() { built <- stage.Build(ctx, s.root, s.bin()) }()
	up := command(ctx, testbed, "up", "--dir", s.testbed(), "--detach", "--timeout", "6m")
	up.Stdout, up.Stderr = nil, nil
	out, err := up.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("starting the testbed (logs in %s): %w\n%s", filepath.Join(s.testbed(), "logs"), err, out)
	}
	if err := errors.Join(err, <-built); err != nil {
		return err
	}
	say("all of it works")
	return nil
}

// command is a program whose output people see; at the end of ctx it is asked to stop.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// inside runs this program in the testbed's network.
func inside(ctx context.Context, s settings) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	cmd := command(ctx, filepath.Join(s.bin(), "testbed"), "exec", "--dir", s.testbed(), "--",
		self, "--inside", "--dir", s.dir, "--scenario="+s.scenario, fmt.Sprintf("--keep=%t", s.keep), fmt.Sprintf("--rate=%d", s.rate))
	cmd.Dir = s.root
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("not everything happened as it should; logs are in %s and %s", filepath.Join(s.work(), "logs"), filepath.Join(s.testbed(), "logs"))
	}
	return err
}

// stopAll ends exactly what a demo in this folder started and what still runs of it.
func stopAll(ctx context.Context, s settings, loud bool) error {
	ended, err := stage.LedgerIn(s.work()).StopAll()
	for _, p := range ended {
		if loud {
			fmt.Printf("         stopped %s (%d) of an earlier demo\n", p.Name, p.PID)
		}
	}
	if _, missing := os.Stat(s.testbed()); errors.Is(missing, fs.ErrNotExist) {
		return err
	}
	testbed := filepath.Join(s.bin(), "testbed")
	if _, missing := os.Stat(testbed); missing != nil {
		if err := stage.BuildTestbed(ctx, s.root, s.bin()); err != nil {
			return err
		}
	}
	down := command(ctx, testbed, "down", "--dir", s.testbed())
	if !loud {
		down.Stdout, down.Stderr = nil, nil
	}
	if failed := down.Run(); failed != nil {
		err = errors.Join(err, fmt.Errorf("stopping the testbed: %w", failed))
	}
	return err
}
