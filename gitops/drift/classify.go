package drift

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Class says what kind of difference it is, and so where its cause is to be looked for.
type Class string

// The classes.
const (
	// ManualEdit: a person, or a tool that nothing is known about, changed it.
	ManualEdit Class = "ManualEdit"
	// ControllerWrite: another controller did.
	ControllerWrite Class = "ControllerWrite"
	// AdmissionMutation: the API server's admission makes something else of what Git declares.
	AdmissionMutation Class = "AdmissionMutation"
	// Deleted: the object is gone.
	Deleted Class = "Deleted"
	// VersionSkew: nobody changed it; the API server has another version or another default than when it was applied.
	VersionSkew Class = "VersionSkew"
	// NewCommit: Git changed, and it has not been applied yet: no drift.
	NewCommit Class = "NewCommit"
)

// Rank orders classes by how much a person has to do with it: the class of an object is that of its highest field.
func (c Class) Rank() int {
	switch c {
	case Deleted:
		return 6
	case ManualEdit:
		return 5
	case ControllerWrite:
		return 4
	case AdmissionMutation:
		return 3
	case VersionSkew:
		return 2
	case NewCommit:
		return 1
	}
	return 0
}

// StampAnnotation is where the shipped admission policy writes which user made the last change, and StampManager with which
// field manager, as far as the request named one.
const (
	StampAnnotation = "belay.dev/changed-by"
	StampManager    = "belay.dev/changed-with"
)

// Classify fills Class, Owner and Guess of a field.
func Classify(f *Field, o Observed, owners []Owner) {
	own := ownOf(owners, o.Manager)
	ours := own != nil && own.Owns(f.Path)
	f.Owner = holder(owners, o.Manager, f.Path)
	declared, has := At(o.Desired, f.Path)
	switch {
	case !o.Same && (ours || f.Live == nil):
		f.Class, f.Owner = NewCommit, nil // we set the live value, and nobody has touched it since; or nothing is overwritten
	case f.Owner != nil && f.Owner.Manager == o.Manager:
		f.Class, f.Owner = AdmissionMutation, nil // what admission makes of a request is entered under the requester's name
	case f.Owner != nil:
		f.Class = classOfWriter(f.Owner.Manager, StampOf(o.Live, *f.Owner))
	case !has:
		f.Class = VersionSkew // neither declared nor anybody's: a default
	case isScalar(declared) && !same(declared, f.Declared):
		f.Class = AdmissionMutation
	case f.Live == nil || own == nil:
		f.missing(o, owners, own)
	case ours && own.APIVersion != o.Desired.GetAPIVersion():
		f.Class = VersionSkew
	case ours:
		// The value is not the one that we set, and the API server says that nobody else did.
		f.Class = AdmissionMutation
	default:
		f.missing(o, owners, own)
	}
}

// missing classifies what was taken away, or all of it where our own entry is gone: who did that leaves no trace but a
// write of its own at that time.
func (f *Field) missing(o Observed, owners []Owner, own *Owner) {
	var since time.Time
	if own != nil {
		since = own.Time
	}
	f.Class, f.Owner = ManualEdit, latest(owners, o.Manager, since)
	if f.Owner != nil {
		f.Class, f.Guess = classOfWriter(f.Owner.Manager, StampOf(o.Live, *f.Owner)), true
	}
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// same says that two scalars mean the same to the API server, which writes quantities in its own way.
func same(a, b any) bool {
	if equality.Semantic.DeepEqual(normal(a), normal(b)) {
		return true
	}
	x, err := resource.ParseQuantity(fmt.Sprint(a))
	y, err2 := resource.ParseQuantity(fmt.Sprint(b))
	return err == nil && err2 == nil && x.Cmp(y) == 0
}

// normal makes numbers comparable: YAML and the API server's JSON differ in their types.
func normal(v any) any {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	case float32:
		return float64(n)
	}
	return v
}

// StampOf is the user that made the last change, as the shipped admission policy wrote it; empty where the stamp speaks of
// another manager's write, or of one that cannot be stamped: through a subresource. What admission adds is in nobody's name,
// so that managedFields do not tell whose it is.
func StampOf(live *unstructured.Unstructured, owner Owner) string {
	if live == nil || owner.Subresource != "" {
		return ""
	}
	annotations := live.GetAnnotations()
	if with := annotations[StampManager]; with != "" && with != owner.Manager {
		return ""
	}
	return annotations[StampAnnotation]
}

func classOfWriter(manager, user string) Class {
	switch {
	case strings.HasPrefix(user, "system:"):
		return ControllerWrite // service accounts and components
	case user != "":
		return ManualEdit
	case isController(manager):
		return ControllerWrite
	}
	return ManualEdit
}

// controllers are names, or parts of names, under which controllers write. A name proves nothing; it is where to look first.
var controllers = struct{ whole, suffixes, prefixes []string }{
	whole: []string{"kube-controller-manager", "cloud-controller-manager", "kube-scheduler", "kube-apiserver", "kubelet", "horizontal-pod-autoscaler", "cluster-autoscaler",
		"keda", "karpenter", "istiod", "pilot-discovery", "linkerd-destination", "helm-controller", "flux", "belay", "kyverno", "gatekeeper"},
	suffixes: []string{"-controller", "-operator", "-controller-manager", "-autoscaler", "-webhook", "-injector", "-updater", "-manager"},
	prefixes: []string{"vpa-", "argocd-", "cert-manager", "keda-", "karmada-", "cilium-", "istio-", "crossplane"},
}

func isController(manager string) bool {
	for _, name := range controllers.whole {
		if manager == name {
			return true
		}
	}
	for _, suffix := range controllers.suffixes {
		if strings.HasSuffix(manager, suffix) {
			return true
		}
	}
	for _, prefix := range controllers.prefixes {
		if strings.HasPrefix(manager, prefix) {
			return true
		}
	}
	return false
}
