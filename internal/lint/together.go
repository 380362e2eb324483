package lint

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// bundle is everything in the files, by kind, for rules over several objects.
type bundle struct {
	rollouts []typed[v1alpha1.Rollout]
	// templates are AnalysisTemplates and ClusterAnalysisTemplates.
	templates    []typed[v1alpha1.AnalysisTemplate]
	runs         []typed[v1alpha1.AnalysisRun]
	repositories []typed[v1alpha1.Repository]
	syncs        []typed[v1alpha1.Sync]
	decisions    []typed[v1alpha1.Decision]
	policies     []typed[v1alpha1.DeliveryPolicy]
	wide         []typed[v1alpha1.ClusterDeliveryPolicy]
	services     []typed[service]
	routes       []typed[route]
	// others are objects of kinds that Belay does not know, e.g. policies of gateways.
	others []*document
}

// typed is a document with its content decoded.
type typed[T any] struct {
	*document
	v *T
}

// routeKinds can split traffic.
var routeKinds = []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"}

// service and route are the parts of a Service and of any kind of route that rules look at.
type service struct {
	Spec struct {
		Selector map[string]string `json:"selector"`
	} `json:"spec"`
}

type route struct {
	Spec struct {
		Rules []routeRule `json:"rules"`
	} `json:"spec"`
}

type routeRule struct {
	Name        string    `json:"name"`
	BackendRefs []backend `json:"backendRefs"`
}

func (r routeRule) refersTo(service string) bool {
	return slices.ContainsFunc(r.BackendRefs, func(b backend) bool { return b.isService(service) })
}

type backend struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Weight    *int64 `json:"weight"`
}

func (b backend) isService(name string) bool {
	return b.Group == "" && (b.Kind == "" || b.Kind == "Service") && b.Name == name
}

// checkTogether applies the rules that the schema cannot hold.
func checkTogether(docs []*document) []Finding {
	out := duplicates(docs)
	b := &bundle{}
	for _, doc := range docs {
		if doc.invalid {
			continue
		}
		if err := b.add(doc); err != nil {
			out = append(out, doc.errorf("", "", "%s", err))
		}
	}
	for _, r := range b.rollouts {
		out = append(out, b.checkRollout(r)...)
	}
	for _, t := range b.templates {
		out = append(out, checkTemplate(t)...)
	}
	for _, r := range b.runs {
		out = append(out, checkRun(r)...)
	}
	for _, s := range b.syncs {
		out = append(out, b.checkSync(s)...)
	}
	for _, d := range b.decisions {
		out = append(out, b.checkDecision(d)...)
	}
	out = append(out, b.checkDeliveryPolicies()...)
	out = append(out, b.checkRepositories()...)
	return out
}

func (b *bundle) add(doc *document) error {
	switch {
	case doc.is(v1alpha1.Group, "Rollout"):
		return collect(&b.rollouts, doc)
	case doc.is(v1alpha1.Group, "AnalysisTemplate"), doc.is(v1alpha1.Group, "ClusterAnalysisTemplate"):
		return collect(&b.templates, doc)
	case doc.is(v1alpha1.Group, "AnalysisRun"):
		return collect(&b.runs, doc)
	case doc.is(v1alpha1.Group, "Repository"):
		return collect(&b.repositories, doc)
	case doc.is(v1alpha1.Group, "Sync"):
		return collect(&b.syncs, doc)
	case doc.is(v1alpha1.Group, "Decision"):
		return collect(&b.decisions, doc)
	case doc.is(v1alpha1.Group, "DeliveryPolicy"):
		return collect(&b.policies, doc)
	case doc.is(v1alpha1.Group, "ClusterDeliveryPolicy"):
		return collect(&b.wide, doc)
	case doc.is("", "Service"):
		return collect(&b.services, doc)
	case slices.ContainsFunc(routeKinds, func(kind string) bool { return doc.is("gateway.networking.k8s.io", kind) }):
		return collect(&b.routes, doc)
	}
	b.others = append(b.others, doc)
	return nil
}

func collect[T any](into *[]typed[T], doc *document) error {
	v := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(doc.defaulted, v); err != nil {
		return fmt.Errorf("the object cannot be read: %w", err)
	}
	*into = append(*into, typed[T]{document: doc, v: v})
	return nil
}

// find looks for an object of a name that can be in the namespace of doc: unset stands for any namespace.
func find[T any](in []typed[T], doc *document, name string) (typed[T], bool) {
	for _, candidate := range in {
		if candidate.object.GetName() == name && sameNamespace(candidate.document, doc) {
			return candidate, true
		}
	}
	return typed[T]{}, false
}

func sameNamespace(a, b *document) bool {
	x, y := a.object.GetNamespace(), b.object.GetNamespace()
	return x == y || x == "" || y == ""
}

func duplicates(docs []*document) []Finding {
	type key struct{ group, kind, namespace, name string }
	first := map[key]*document{}
	var out []Finding
	for _, doc := range docs {
		gvk := doc.gvk()
		k := key{gvk.Group, gvk.Kind, doc.object.GetNamespace(), doc.object.GetName()}
		if k.name == "" || gvk.Group != v1alpha1.Group {
			continue
		}
		if before, dup := first[k]; dup {
			out = append(out, doc.warnf("metadata.name", "the one applied last wins; in overlays, lint one overlay at a time",
				"the same object is also in %s:%d", before.file, before.node.Line))
			continue
		}
		first[k] = doc
	}
	return out
}

func (b *bundle) checkSync(s typed[v1alpha1.Sync]) []Finding {
	out := append(b.checkSyncPolicies(s), b.checkSignatures(s)...)
	if len(b.repositories) == 0 {
		return out
	}
	if _, ok := find(b.repositories, s.document, s.v.Spec.Repository); !ok {
		out = append(out, s.warnf("spec.repository", "add it, or make sure that it is in the cluster",
			"Repository %q is not in these files", s.v.Spec.Repository))
	}
	return out
}

func (b *bundle) checkDecision(d typed[v1alpha1.Decision]) []Finding {
	subject := d.v.Spec.Subject.Name
	r, ok := find(b.rollouts, d.document, subject)
	if !ok || d.v.Spec.Step == nil {
		return nil
	}
	if steps := len(r.v.Spec.Steps()); int(*d.v.Spec.Step) >= steps {
		return []Finding{d.errorf("spec.step", fmt.Sprintf("steps count from 0: the last one is %d", steps-1),
			"Rollout %s has no step %d", subject, *d.v.Spec.Step)}
	}
	return nil
}
