package drift

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Action is what is proposed.
type Action string

// The actions.
const (
	// Reapply what Git declares.
	Reapply Action = "Reapply"
	// Recreate the object from Git.
	Recreate Action = "Recreate"
	// IgnoreField: leave the field to its other owner, by a rule.
	IgnoreField Action = "Ignore"
	// ChangeGit: Git asks for what the cluster does not take.
	ChangeGit Action = "ChangeGit"
)

// Risk of a remedy.
type Risk string

// The risks.
const (
	RiskLow    Risk = "Low"
	RiskMedium Risk = "Medium"
	RiskHigh   Risk = "High"
)

// Remedy is what is proposed, how risky that is, and why.
type Remedy struct {
	Action Action
	Risk   Risk
	Reason string
}

// fresh is how young a person's change is taken for a repair that is under way.
const fresh = time.Hour

// RemedyOf proposes what to do about an object.
func RemedyOf(kind schema.GroupKind, class Class, fields []Field, now time.Time) Remedy {
	if class == Deleted {
		return recreate(kind)
	}
	r := Remedy{Action: Reapply, Risk: RiskLow, Reason: "what Git declares is written again"}
	switch class {
	case ControllerWrite:
		r = Remedy{Action: IgnoreField, Risk: RiskMedium,
			Reason: "a controller writes this field: writing it again starts a fight; leave it out of Git, or add a rule to spec.drift.ignore"}
	case AdmissionMutation:
		r = Remedy{Action: ChangeGit, Risk: RiskLow, Reason: "admission makes something else of what Git declares: declare what it makes of it, or ignore the field"}
	case VersionSkew:
		r.Reason = "nobody changed it: the API server's version or defaults did; writing it again settles it"
	}
	for _, f := range fields {
		r.raise(riskOf(f, now))
	}
	return r
}

func (r *Remedy) raise(risk Risk, reason string) {
	if weight(risk) > weight(r.Risk) {
		r.Risk, r.Reason = risk, reason
	}
}

func weight(r Risk) int { return map[Risk]int{RiskMedium: 1, RiskHigh: 2}[r] }

func recreate(kind schema.GroupKind) Remedy {
	r := Remedy{Action: Recreate, Risk: RiskLow, Reason: "the object is made again from Git"}
	switch kind.Kind {
	case "PersistentVolumeClaim", "StatefulSet", "Namespace", "CustomResourceDefinition":
		r.Risk, r.Reason = RiskHigh, "the object is made again from Git, but what it held is gone with it"
	case "Deployment", "DaemonSet", "Rollout", "Service", "Ingress", "HTTPRoute", "GRPCRoute":
		r.Risk, r.Reason = RiskMedium, "the object is made again from Git; until it is ready nothing serves"
	}
	return r
}

// riskOf is what writing one field again could do.
func riskOf(f Field, now time.Time) (Risk, string) {
	path := f.Path.String()
	switch {
	case path == ".spec.replicas" && isZero(f.Declared):
		return RiskHigh, "Git declares 0 replicas: writing it again ends all pods"
	case f.Class == ManualEdit && f.Owner != nil && !f.Owner.Time.IsZero() && now.Sub(f.Owner.Time) < fresh && inTemplate(path):
		return RiskMedium, fmt.Sprintf("%s changed it within the last hour: it may be a repair, and pods are replaced", f.Owner.Manager)
	case inTemplate(path):
		return RiskMedium, "pods are replaced"
	case path == ".spec.replicas":
		return RiskMedium, "the number of pods changes"
	case strings.HasPrefix(path, ".rules") || strings.HasPrefix(path, ".roleRef") || strings.HasPrefix(path, ".subjects"):
		return RiskMedium, "rights change"
	}
	return RiskLow, ""
}

func inTemplate(path string) bool { return strings.HasPrefix(path, ".spec.template") }

func isZero(v any) bool { return normal(v) == float64(0) }
