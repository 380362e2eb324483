package node

import (
	"context"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// pod is one pod of this node, from its first sight to the end of its object.
type pod struct {
	node    *agent
	key     string // namespace/name, for logs
	ctx     context.Context
	cancel  context.CancelFunc // the pod is to stop
	gone    chan struct{}      // its object is gone, or the node stops
	drop    func()             // closes gone, once
	changed chan struct{}

	mu         sync.Mutex
	obj        *corev1.Pod
	address    netip.Addr
	started    metav1.Time
	deadline   time.Time // when the processes are killed; set before ctx ends, and only brought forward after
	sooner     chan struct{}
	containers []*container
}

func newPod(a *agent, obj *corev1.Pod) *pod {
	p := &pod{
		node: a, key: obj.Namespace + "/" + obj.Name, obj: obj, started: metav1.Now(),
		gone: make(chan struct{}), changed: make(chan struct{}, 1), sooner: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.drop = sync.OnceFunc(func() { close(p.gone) })
	for i := range obj.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, obj.Spec.Containers[i]))
	}
	return p
}

// live is the pod's life: an address, its containers, its last status, the end of its object, the return of the address.
func (p *pod) live() {
	defer p.cancel()
	if !p.takeAddress() {
		p.finish()
		return
	}
	defer p.node.addresses.release(p.address)
	var reporting, running sync.WaitGroup
	reporting.Go(p.report)
	for _, c := range p.containers {
		running.Go(c.keep)
	}
	running.Wait()
	p.touch()
	p.finish()
	<-p.gone
	reporting.Wait()
}

// takeAddress waits for a free address; it returns false if the pod was told to stop first.
func (p *pod) takeAddress() bool {
	for {
		address, err := p.node.addresses.take()
		if err == nil {
			p.mu.Lock()
			p.address = address
			p.mu.Unlock()
			return true
		}
		p.node.Log.Error("starting a pod", "pod", p.key, "error", err)
		if !p.sleep(time.Second) {
			return false
		}
	}
}

// finish removes the object of a pod that was deleted, after its last status is written.
func (p *pod) finish() {
	select {
	case <-p.ctx.Done(): // deleted, or the node stops
	case <-p.gone:
		return
	}
	if obj := p.object(); obj.DeletionTimestamp != nil {
		p.write()
		p.node.remove(obj)
	}
}

func (p *pod) object() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.obj
}

// update takes in the newest object; a deletion stamp begins the termination.
func (p *pod) update(obj *corev1.Pod) {
	p.mu.Lock()
	p.obj = obj
	p.mu.Unlock()
	if obj.DeletionTimestamp != nil {
		grace := ptr.Deref(obj.DeletionGracePeriodSeconds, ptr.Deref(obj.Spec.TerminationGracePeriodSeconds, 30))
		p.stop(time.Duration(grace) * time.Second)
	}
}

// stop tells the pod to end within grace. A later call can only shorten the time.
func (p *pod) stop(grace time.Duration) {
	p.mu.Lock()
	if at := time.Now().Add(grace); p.deadline.IsZero() || at.Before(p.deadline) {
		p.deadline = at
		close(p.sooner)
		p.sooner = make(chan struct{})
	}
	p.mu.Unlock()
	p.cancel()
	p.touch()
}

// killTime returns how long until the processes are killed, and a channel that is closed when that changes.
func (p *pod) killTime() (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline.IsZero() { // a single container restarts: its own grace counts
		return time.Duration(ptr.Deref(p.obj.Spec.TerminationGracePeriodSeconds, 30)) * time.Second, p.sooner
	}
	return time.Until(p.deadline), p.sooner
}

// touch asks for a status report.
func (p *pod) touch() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// set changes state that status shows.
func (p *pod) set(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	p.touch()
}

// sleep waits, and returns false if the pod was told to stop meanwhile.
func (p *pod) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// report writes status whenever something changed, until the object is gone.
func (p *pod) report() {
	for again := true; ; {
		if again {
			again = !p.write()
		}
		var retry <-chan time.Time
		if again {
			retry = time.After(200 * time.Millisecond)
		}
		select {
		case <-p.gone:
			return
		case <-p.changed:
			again = true
		case <-retry:
		}
	}
}

// write brings the object's status up to date; it returns false if that has to be tried again.
func (p *pod) write() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	mine := p.object()
	pods := p.node.client.CoreV1().Pods(mine.Namespace)
	current, err := pods.Get(ctx, mine.Name, metav1.GetOptions{})
	if err != nil || current.UID != mine.UID {
		return true // gone: the informer will say so
	}
	p.mu.Lock()
	status := p.status(current)
	p.mu.Unlock()
	if equality.Semantic.DeepEqual(status, current.Status) {
		return true
	}
	current.Status = status
	if _, err = pods.UpdateStatus(ctx, current, metav1.UpdateOptions{}); err != nil {
		p.node.Log.Info("writing a status, to be tried again", "pod", p.key, "error", err)
	}
	return err == nil
}
