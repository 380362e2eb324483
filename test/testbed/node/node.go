package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

const (
	renewEvery = 10 * time.Second // of the node's Lease, which lasts four times as long
	stopGrace  = 5 * time.Second  // for the pods when the node itself stops
)

// Options say what the node is called and where its pods' addresses, programs and logs are.
type Options struct {
	Name    string
	Pods    netip.Prefix // addresses, local to the machine
	Images  string       // folder
	Logs    string       // folder: <namespace>_<pod>_<container>.log
	Metrics string       // address of the API metrics.k8s.io, for the API server; empty: none
	Log     *slog.Logger
}

type agent struct {
	Options
	client    kubernetes.Interface
	addresses *pool

	mu   sync.Mutex
	pods map[types.UID]*pod
	live sync.WaitGroup
}

// Run is the node until ctx ends; then it stops its pods' processes and returns. The pods' objects stay.
func Run(ctx context.Context, client kubernetes.Interface, o Options) error {
	a := &agent{Options: o, client: client, addresses: newPool(o.Pods), pods: map[types.UID]*pod{}}
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("registering the node: %w", err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", o.Name).String()
	}))
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { a.sync(obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { a.sync(obj.(*corev1.Pod)) },
		DeleteFunc: a.deleted,
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory.Start(ctx.Done())
	metrics := make(chan error, 1)
	if o.Metrics != "" {
		a.live.Go(func() {
			defer cancel() // a node without its metrics is of no use
			metrics <- a.serveMetrics(ctx)
		})
	}
	a.renewLease(ctx)
	factory.Shutdown()
	a.mu.Lock()
	for _, p := range a.pods {
		p.stop(stopGrace)
		p.drop()
	}
	a.mu.Unlock()
	a.live.Wait()
	select {
	case err := <-metrics:
		return err
	default:
		return nil
	}
}

func (a *agent) register(ctx context.Context) error {
	nodes := a.client.CoreV1().Nodes()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: a.labels()},
		Spec:       corev1.NodeSpec{PodCIDR: a.Pods.String(), PodCIDRs: []string{a.Pods.String()}},
	}
	got, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		got, err = nodes.Get(ctx, a.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	got.Status = a.nodeStatus()
	_, err = nodes.UpdateStatus(ctx, got, metav1.UpdateOptions{})
	return err
}

func (a *agent) labels() map[string]string {
	return map[string]string{corev1.LabelHostname: a.Name, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH}
}

func (a *agent) nodeStatus() corev1.NodeStatus {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("250"),
	}
	now := metav1.Now()
	status := corev1.NodeStatus{
		Capacity: room, Allocatable: room,
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: a.Name}},
		NodeInfo: corev1.NodeSystemInfo{
			OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, KubeletVersion: "v1.37.2-process", ContainerRuntimeVersion: "process://1",
		},
	}
	for kind, value := range map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady: corev1.ConditionTrue, corev1.NodeMemoryPressure: corev1.ConditionFalse,
		corev1.NodeDiskPressure: corev1.ConditionFalse, corev1.NodePIDPressure: corev1.ConditionFalse,
	} {
		status.Conditions = append(status.Conditions, corev1.NodeCondition{
			Type: kind, Status: value, Reason: "ProcessNode", LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	return status
}

// stayReady says again that the node is ready where the control plane, for want of a Lease in time, has written that it is not: on
// a machine that stood still for a while nothing would ever be scheduled again.
func (a *agent) stayReady(ctx context.Context) error {
	node, err := a.client.CoreV1().Nodes().Get(ctx, a.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the node: %w", err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	a.Log.Warn("the node was taken for lost, and is ready again")
	return a.register(ctx)
}

// renewLease tells the control plane that the node lives, until ctx ends.
func (a *agent) renewLease(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, 3*renewEvery) // a connection that was cut without a word must not end all of it
		err := a.renewOnce(once)
		if err == nil {
			err = a.stayReady(once)
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			a.Log.Error("renewing the lease", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *agent) renewOnce(ctx context.Context) error {
	leases := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	lease, err := leases.Get(ctx, a.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		spec := coordinationv1.LeaseSpec{HolderIdentity: &a.Name, LeaseDurationSeconds: ptr.To(int32(4 * renewEvery / time.Second)), RenewTime: &now}
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: a.Name}, Spec: spec}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// sync starts a pod that is new here, and tells one that is not what has changed.
func (a *agent) sync(obj *corev1.Pod) {
	a.mu.Lock()
	p := a.pods[obj.UID]
	over := obj.Status.Phase == corev1.PodSucceeded || obj.Status.Phase == corev1.PodFailed
	if p == nil && !over {
		p = newPod(a, obj)
		a.pods[obj.UID] = p
		a.live.Go(p.live)
	}
	a.mu.Unlock()
	if p != nil {
		p.update(obj)
	} else if obj.DeletionTimestamp != nil {
		a.remove(obj)
	}
}

// deleted ends whatever still runs of a pod whose object is gone.
func (a *agent) deleted(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	o, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	p := a.pods[o.UID]
	delete(a.pods, o.UID)
	a.mu.Unlock()
	if p != nil {
		p.stop(0)
		p.drop()
	}
}

// remove takes a pod that has ended out of the API.
func (a *agent) remove(o *corev1.Pod) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := a.client.CoreV1().Pods(o.Namespace).Delete(ctx, o.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &o.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		a.Log.Error("removing a pod that has ended", "pod", o.Namespace+"/"+o.Name, "error", err)
	}
}
