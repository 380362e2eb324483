package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	calmAfter    = 10 * time.Minute // a container that ran so long starts at the first back-off again
	imageRetry   = 2 * time.Second
)

// container is one container of a pod; its state is guarded by the pod's mutex.
type container struct {
	pod      *pod
	spec     corev1.Container
	used     history // has its own mutex
	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	ready    bool
	started  bool
}

func newContainer(p *pod, spec corev1.Container) *container {
	c := &container{pod: p, spec: spec}
	c.state = waiting("ContainerCreating", "")
	return c
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// keep runs the container again and again, as the pod's restart policy says, until the pod is told to stop.
func (c *container) keep() {
	p, backoff := c.pod, firstBackoff
	for p.ctx.Err() == nil {
		cmd, reason, err := c.command()
		if err != nil {
			p.set(func() { c.state = waiting(reason, err.Error()) })
			p.sleep(imageRetry)
			continue
		}
		ended := c.once(cmd)
		if ended == nil {
			p.sleep(imageRetry)
			continue
		}
		again := p.ctx.Err() == nil && restarts(p.object().Spec.RestartPolicy, ended.ExitCode)
		if ended.FinishedAt.Sub(ended.StartedAt.Time) > calmAfter {
			backoff = firstBackoff
		}
		p.set(func() { c.ended(ended, again, backoff) })
		if !again || !p.sleep(backoff) {
			return
		}
		backoff = min(2*backoff, maxBackoff)
		p.set(func() { c.restarts++ })
	}
}

func restarts(policy corev1.RestartPolicy, exit int32) bool {
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && exit != 0
}

// ended notes the end of a run; the caller holds the pod's mutex.
func (c *container) ended(how *corev1.ContainerStateTerminated, again bool, backoff time.Duration) {
	c.ready, c.started = false, false
	c.state = corev1.ContainerState{Terminated: how}
	if again {
		c.last = c.state
		c.state = waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting container %s", backoff, c.spec.Name))
	}
}

// command returns what to run, or the reason (as status shows it) why it cannot be.
func (c *container) command() (*exec.Cmd, string, error) {
	if len(c.pod.object().Spec.InitContainers) > 0 {
		return nil, "CreateContainerConfigError", errors.New("this node runs no init containers")
	}
	image, err := findImage(c.pod.node.Images, c.spec.Image)
	if err != nil {
		return nil, "ImagePullBackOff", err
	}
	env, err := c.environment(c.pod.ctx)
	if err != nil {
		return nil, "CreateContainerConfigError", err
	}
	argv := append(append([]string{}, c.spec.Command...), c.spec.Args...)
	if len(c.spec.Command) == 0 {
		argv = append([]string{filepath.Join(image, "entrypoint")}, c.spec.Args...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = image, env
	if c.spec.WorkingDir != "" {
		cmd.Dir = c.spec.WorkingDir
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, "", nil
}

// findImage returns the folder of an image: its own, or the one for all its tags.
func findImage(images, name string) (string, error) {
	flat := strings.NewReplacer("/", "_", ":", "_").Replace
	repository := name
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		repository = name[:i]
	}
	for _, folder := range []string{flat(name), flat(repository)} {
		dir := filepath.Join(images, folder)
		if _, err := os.Stat(filepath.Join(dir, "entrypoint")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("back-off pulling image %q: no such image on this node", name)
}

// once runs the container's process to its end, with its probes beside it. It returns nil if the process could not be started.
func (c *container) once(cmd *exec.Cmd) *corev1.ContainerStateTerminated {
	runtime.LockOSThread() // the death signal follows the thread that started the process
	defer runtime.UnlockOSThread()
	p := c.pod
	log, err := c.openLog()
	if err == nil {
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	}
	if err != nil {
		p.set(func() { c.state = waiting("CreateContainerError", err.Error()) })
		return nil
	}
	c.used.begin(cmd.Process.Pid)
	began := metav1.Now()
	p.set(func() {
		c.ready, c.started = c.spec.ReadinessProbe == nil && c.spec.StartupProbe == nil, c.spec.StartupProbe == nil
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
	})
	ctx, cancel := context.WithCancel(p.ctx)
	probed := make(chan struct{})
	go func() { defer close(probed); c.probe(ctx, cancel) }()
	exited, ending := make(chan struct{}), make(chan struct{})
	go func() { defer close(ending); c.endWhenTold(ctx, cmd.Process.Pid, exited) }()
	_ = cmd.Wait() // its exit code says how it went
	c.used.begin(0)
	close(exited)
	cancel()
	<-ending
	<-probed
	return terminated(cmd.ProcessState, began)
}

func (c *container) openLog() (*os.File, error) {
	obj := c.pod.object()
	name := fmt.Sprintf("%s_%s_%s.log", obj.Namespace, obj.Name, c.spec.Name)
	return os.OpenFile(filepath.Join(c.pod.node.Logs, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func terminated(s *os.ProcessState, began metav1.Time) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{ExitCode: int32(s.ExitCode()), StartedAt: began, FinishedAt: metav1.Now(), Reason: "Completed"}
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		t.ExitCode, t.Signal = 128+int32(status.Signal()), int32(status.Signal())
	}
	if t.ExitCode != 0 {
		t.Reason = "Error"
	}
	return t
}

// endWhenTold ends the process group once ctx ends: the preStop pause, SIGTERM, and SIGKILL when the grace is over.
func (c *container) endWhenTold(ctx context.Context, pid int, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-ctx.Done():
	}
	if h := c.spec.Lifecycle; h != nil && h.PreStop != nil && h.PreStop.Sleep != nil {
		if c.await(exited, time.Duration(h.PreStop.Sleep.Seconds)*time.Second) {
			return
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	if !c.await(exited, maxBackoff) {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// await waits for the exit, but neither longer than atMost nor past the pod's kill time; it returns true if it came.
func (c *container) await(exited <-chan struct{}, atMost time.Duration) bool {
	end := time.Now().Add(atMost)
	for {
		left, sooner := c.pod.killTime()
		timer := time.NewTimer(min(left, time.Until(end)))
		select {
		case <-exited:
			timer.Stop()
			return true
		case <-timer.C:
			return false
		case <-sooner:
			timer.Stop()
		}
	}
}
