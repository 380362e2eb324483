package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-delivery/belay/test/testbed"
	"github.com/belay-delivery/belay/test/testbed/netns"
	"github.com/belay-delivery/belay/test/testbed/parts"
)

func buildCommand() *cobra.Command {
	var components []string
	var assets string
	var check bool
	cmd := &cobra.Command{
		Use: "build", Short: "Build what a testbed needs, once for this machine", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := parts.NewBuilder(os.Stderr)
			if err != nil {
				return err
			}
			if check {
				return checkBuilt(cmd.Context(), b, components)
			}
			return build(cmd.Context(), b, components, assets)
		},
	}
	cmd.Flags().StringSliceVar(&components, "parts", nil, "components, of "+fmt.Sprint(testbed.AllComponents)+" (default all)")
	cmd.Flags().StringVar(&assets, "assets", "", "make this folder usable as KUBEBUILDER_ASSETS")
	cmd.Flags().BoolVar(&check, "check", false, "build nothing; fail if something would have to be built")
	return cmd
}

func build(ctx context.Context, b *parts.Builder, components []string, assets string) error {
	paths, err := b.Ensure(ctx, testbed.Needs(components)...)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		fmt.Printf("%-12s %s\n", name, paths[name])
	}
	if assets == "" {
		return nil
	}
	return testbed.LinkAssets(assets, paths[parts.Kubebox])
}

func checkBuilt(ctx context.Context, b *parts.Builder, components []string) error {
	var missing []error
	needs := testbed.Needs(components)
	for _, p := range parts.All() {
		if !slices.Contains(needs, p.Name) {
			continue
		}
		if _, err := b.Find(ctx, p); err != nil {
			missing = append(missing, fmt.Errorf("%s has to be built: %w", p.Name, err))
		}
	}
	return errors.Join(missing...)
}

func upCommand() *cobra.Command {
	o := testbed.Options{Out: os.Stderr}
	var detach bool
	cmd := &cobra.Command{
		Use: "up --dir DIR", Short: "Start a testbed and keep it until SIGTERM; DIR/testbed.json says where everything is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(o.Dir)
			if err != nil {
				return err
			}
			o.Dir = dir
			switch {
			case detach:
				return startDetached(cmd.Context(), o)
			case netns.Inside():
				return keep(cmd.Context(), o)
			}
			if err := buildFirst(cmd.Context(), o.Components); err != nil {
				return err
			}
			return finish(netns.Run(cmd.Context(), withStreams(netns.Command(upArgs(o)))))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "the testbed's folder")
	f.StringSliceVar(&o.Components, "parts", nil, "components, of "+fmt.Sprint(testbed.AllComponents)+" (default all)")
	f.DurationVar(&o.Throttle, "throttle", 100*time.Millisecond, "least time between two changes of the gateway's configuration")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "until everything works")
	f.BoolVar(&detach, "detach", false, "return when everything works, and leave it running")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

// buildFirst builds outside the namespace, from which nothing can be downloaded.
func buildFirst(ctx context.Context, components []string) error {
	b, err := parts.NewBuilder(os.Stderr)
	if err != nil {
		return err
	}
	_, err = b.Ensure(ctx, testbed.Needs(components)...)
	return err
}

func upArgs(o testbed.Options) []string {
	args := []string{"/proc/self/exe", "up", "--dir", o.Dir, "--throttle", o.Throttle.String(), "--timeout", o.Timeout.String()}
	for _, c := range o.Components {
		args = append(args, "--parts", c)
	}
	return args
}

func withStreams(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func finish(code int, err error) error {
	if err == nil && code != 0 {
		return exitCode(code)
	}
	return err
}

// keep is the testbed's own process: it starts everything, and stops it at the signal or when a part ends by itself.
func keep(ctx context.Context, o testbed.Options) error {
	t, err := testbed.Up(ctx, o)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case err = <-t.Failed():
	}
	return errors.Join(err, t.Down(context.WithoutCancel(ctx)))
}

// startDetached starts the testbed in a session of its own and waits until it is ready.
func startDetached(ctx context.Context, o testbed.Options) error {
	if err := buildFirst(ctx, o.Components); err != nil {
		return err
	}
	if _, err := testbed.Clean(o.Dir); err != nil {
		return err
	}
	logs := filepath.Join(o.Dir, "logs")
	for _, dir := range []string{logs, filepath.Join(o.Dir, "state")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the testbed's folder: %w", err)
		}
	}
	log, err := os.Create(filepath.Join(logs, "testbed.log"))
	if err != nil {
		return fmt.Errorf("making the log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", upArgs(o)[1:]...)
	if !netns.Inside() {
		cmd = netns.Command(upArgs(o))
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the testbed: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return awaitReady(ctx, o.Dir, cmd.Process, ended)
}

func awaitReady(ctx context.Context, dir string, p *os.Process, ended <-chan error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if info, err := testbed.ReadInfo(dir); err == nil && info.PID == p.Pid {
			fmt.Fprintf(os.Stderr, "testbed: ready after %.1fs, kept by process %d\n", info.ReadySeconds, info.PID)
			return nil
		}
		select {
		case <-ctx.Done():
			_ = p.Signal(syscall.SIGTERM)
			<-ended
			return ctx.Err()
		case err := <-ended:
			text, _ := os.ReadFile(filepath.Join(dir, "logs", "testbed.log"))
			return fmt.Errorf("the testbed ended before it was ready: %w\n%s", err, text)
		case <-tick.C:
		}
	}
}

func downCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "down --dir DIR", Short: "Stop exactly what a testbed started, or left behind", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			ended, err := testbed.Clean(dir)
			for _, p := range ended {
				fmt.Fprintf(os.Stderr, "testbed: stopped %s (%d)\n", p.Name, p.PID)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the testbed's folder")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func statusCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "status --dir DIR", Short: "Say which processes of a testbed run; exit code 1 if not all do", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, err := testbed.ReadInfo(dir)
			if err != nil {
				return err
			}
			down := 0
			for _, p := range info.Processes {
				state := "runs"
				if !p.Alive() {
					state, down = "has ended", down+1
				}
				fmt.Printf("%-14s %7d  %-9s  %s\n", p.Name, p.PID, state, p.Log)
			}
			if down > 0 {
				return fmt.Errorf("%d processes have ended", down)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the testbed's folder")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}
