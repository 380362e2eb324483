package node

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// status returns what the pod's status should be, starting from what it is; the caller holds the mutex. A pod that is told to stop
// is not ready from that moment on.
func (p *pod) status(current *corev1.Pod) corev1.PodStatus {
	st := *current.Status.DeepCopy()
	st.StartTime, st.ObservedGeneration = &p.started, current.Generation
	st.HostIP, st.HostIPs = "127.0.0.1", []corev1.HostIP{{IP: "127.0.0.1"}}
	if p.address.IsValid() {
		st.PodIP, st.PodIPs = p.address.String(), []corev1.PodIP{{IP: p.address.String()}}
	}
	st.ContainerStatuses = nil
	ready := p.ctx.Err() == nil
	for _, c := range p.containers {
		s := c.status()
		s.Ready = s.Ready && p.ctx.Err() == nil
		ready = ready && s.Ready
		st.ContainerStatuses = append(st.ContainerStatuses, s)
	}
	st.Phase = p.phase()
	set := func(kind corev1.PodConditionType, value bool) { setCondition(&st, kind, value, current.Generation) }
	set(corev1.PodReadyToStartContainers, true)
	set(corev1.PodInitialized, true)
	set(corev1.ContainersReady, ready)
	set(corev1.PodReady, ready && gatesOpen(current))
	return st
}

func (c *container) status() corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, State: c.state, LastTerminationState: c.last,
		Ready: c.ready && c.started, Started: ptr.To(c.started), RestartCount: c.restarts,
		ContainerID: fmt.Sprintf("process://%s-%s-%d", c.pod.obj.UID, c.spec.Name, c.restarts),
	}
}

// phase follows the kubelet: Pending until every container has run once, then Running until all have ended for good.
func (p *pod) phase() corev1.PodPhase {
	ran, ended, failed := 0, 0, 0
	for _, c := range p.containers {
		if c.state.Waiting == nil || c.last.Terminated != nil {
			ran++
		}
		if t := c.state.Terminated; t != nil {
			ended++
			if t.ExitCode != 0 {
				failed++
			}
		}
	}
	switch all := len(p.containers); {
	case ended == all && failed > 0:
		return corev1.PodFailed
	case ended == all:
		return corev1.PodSucceeded
	case ran == all:
		return corev1.PodRunning
	}
	return corev1.PodPending
}

func gatesOpen(pod *corev1.Pod) bool {
	for _, g := range pod.Spec.ReadinessGates {
		open := false
		for _, c := range pod.Status.Conditions {
			open = open || c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !open {
			return false
		}
	}
	return true
}

func setCondition(st *corev1.PodStatus, kind corev1.PodConditionType, value bool, generation int64) {
	want := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now(), ObservedGeneration: generation}
	if !value {
		want.Status, want.Reason = corev1.ConditionFalse, "ContainersNotReady"
	}
	for i := range st.Conditions {
		c := &st.Conditions[i]
		if c.Type != kind {
			continue
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
		*c = want
		return
	}
	st.Conditions = append(st.Conditions, want)
}
