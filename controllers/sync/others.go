package sync

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// marks are how other tools mark what they keep as they want it: a label or an annotation, and the tool.
var marks = []struct{ label, annotation, tool string }{
	{label: "kustomize.toolkit.fluxcd.io/name", tool: "the Flux Kustomization"},
	{label: "helm.toolkit.fluxcd.io/name", tool: "the Flux HelmRelease"},
	{annotation: "argocd.argoproj.io/tracking-id", tool: "the Argo CD application"},
	{label: "argocd.argoproj.io/instance", tool: "the Argo CD application"},
	{annotation: "configmanagement.gke.io/managed", tool: "Config Sync"},
	{annotation: "meta.helm.sh/release-name", tool: "the Helm release"},
}

// keeper is the tool that keeps an object, or "".
func keeper(live *unstructured.Unstructured) string {
	if live == nil {
		return ""
	}
	for _, m := range marks {
		value := live.GetLabels()[m.label]
		if m.annotation != "" {
			value = live.GetAnnotations()[m.annotation]
		}
		if value != "" {
			return fmt.Sprintf("%s %q", m.tool, cut(value, 128))
		}
	}
	return ""
}

// checkKeepers looks at what would be changed for the marks of other tools: two that keep one object write it in turns.
func checkKeepers(m v1alpha1.CheckMode, changed []*Item, w *warnings) {
	if m == v1alpha1.CheckOff {
		return
	}
	for _, item := range changed {
		if tool := keeper(item.Live); tool != "" {
			m := m
			if adopted(item) {
				m = v1alpha1.CheckWarn // Git says that it is taken over
			}
			item.say(m, fmt.Sprintf("%s keeps it, and the two would write it in turns: take it from there first, or set checks.otherTools to Warn, or give it in Git the annotation belay.dev/adopt: TakeOver", tool), w)
		}
	}
}
