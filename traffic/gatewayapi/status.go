package gatewayapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	gatewayGroup = "gateway.networking.k8s.io"
	// maxReason bounds what is quoted from a route's status.
	maxReason = 200
)

// Programmed says whether every parent of the route has accepted its current
// generation: a necessary sign that gateways serve it, not a sufficient one.
// For each of spec.parentRefs there must be a status entry, and every entry for
// it must have Accepted and ResolvedRefs True for at least the generation of the
// route, and PartiallyInvalid not True. A controller that never publishes an
// observedGeneration is judged by its conditions alone, and why says so.
// Otherwise why names the first parent that is not ready and what it lacks.
// A parent for which skip holds is taken as ready; it is asked with the parent's
// kind, namespace and name ("Gateway ns/name") and the controller that reported.
func Programmed(route *unstructured.Unstructured, skip func(name, controller string) bool) (ok bool, why string) {
	parents := objects(route, "spec", "parentRefs")
	if len(parents) == 0 {
		return false, "route has no parents"
	}
	statuses := objects(route, "status", "parents")
	var notes []string
	for _, parent := range parents {
		ref := readParent(parent, route.GetNamespace())
		entries := statusOf(ref, statuses, route.GetNamespace())
		if skip != nil {
			entries = slices.DeleteFunc(entries, func(e map[string]any) bool { return skip(ref.object(), text(e, "controllerName")) })
			if len(entries) == 0 && skip(ref.object(), "") {
				continue
			}
		}
		if len(entries) == 0 {
			return false, fmt.Sprintf("%s has not reported on the route", ref)
		}
		for _, entry := range entries {
			lacking, dated := accepted(entry, route.GetGeneration())
			if lacking != "" {
				return false, shortened(fmt.Sprintf("%s (%s): %s", ref, text(entry, "controllerName"), lacking))
			}
			if !dated {
				notes = append(notes, fmt.Sprintf("%s publishes no observedGeneration: judged by its conditions alone", ref))
			}
		}
	}
	return true, shortened(strings.Join(slices.Compact(notes), "; "))
}

// accepted says what one status entry lacks. dated says that it tells which
// generations it has seen.
func accepted(entry map[string]any, generation int64) (lacking string, dated bool) {
	conditions := readConditions(entry)
	for _, c := range conditions {
		dated = dated || c.observed > 0
	}
	if c, ok := conditions["PartiallyInvalid"]; ok && c.status == "True" {
		return "PartiallyInvalid: " + c.reason, dated
	}
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		c, ok := conditions[kind]
		switch {
		case !ok:
			return kind + " is not reported", dated
		case c.status != "True":
			return fmt.Sprintf("%s is %s: %s", kind, c.status, c.reason), dated
		case dated && c.observed < generation:
			return fmt.Sprintf("%s is for generation %d, not yet %d", kind, c.observed, generation), dated
		}
	}
	return "", dated
}

type condition struct {
	status, reason string
	observed       int64
}

func readConditions(entry map[string]any) map[string]condition {
	list, _ := entry["conditions"].([]any)
	out := map[string]condition{}
	for _, item := range list {
		if c, ok := item.(map[string]any); ok {
			observed, _ := integer(c["observedGeneration"])
			reason := strings.TrimSuffix(text(c, "reason")+": "+text(c, "message"), ": ")
			out[text(c, "type")] = condition{text(c, "status"), reason, observed}
		}
	}
	return out
}

// parent identifies a parentRef with its defaults filled in. Section and port
// are empty when absent.
type parent struct{ group, kind, namespace, name, section, port string }

func (p parent) String() string {
	id := p.kind + " " + p.namespace + "/" + p.name
	if p.section != "" {
		id += "/" + p.section
	}
	if p.port != "" {
		id += ":" + p.port
	}
	return id
}

// object is the parent as a whole, without section and port.
func (p parent) object() string { return p.kind + " " + p.namespace + "/" + p.name }

func readParent(ref map[string]any, namespace string) parent {
	p := parent{text(ref, "group"), text(ref, "kind"), text(ref, "namespace"), text(ref, "name"), text(ref, "sectionName"), ""}
	if p.kind == "" {
		p.kind = "Gateway"
	}
	switch {
	case p.kind == "Service": // Linkerd reports group core where the spec says ""
		p.group = ""
	case p.group == "":
		p.group = gatewayGroup
	}
	if p.namespace == "" {
		p.namespace = namespace
	}
	if port, ok := integer(ref["port"]); ok {
		p.port = fmt.Sprint(port)
	}
	return p
}

// statusOf returns the entries that speak of the parent: those that name it
// exactly or, when there are none, those that name it without its section or
// port, or more narrowly than it does.
func statusOf(ref parent, statuses []map[string]any, namespace string) []map[string]any {
	var exact, loose []map[string]any
	for _, entry := range statuses {
		raw, _ := entry["parentRef"].(map[string]any)
		got := readParent(raw, namespace)
		if got == ref {
			exact = append(exact, entry)
		}
		if got.covers(ref) {
			loose = append(loose, entry)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return loose
}

func (p parent) covers(other parent) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return p.group == other.group && p.kind == other.kind && p.namespace == other.namespace &&
		p.name == other.name && same(p.section, other.section) && same(p.port, other.port)
}

// Attribution names the field manager that wrote spec.rules last; empty when the
// object does not say. A list of rules is owned as a whole.
func Attribution(route *unstructured.Unstructured) string {
	var manager, latest string
	for _, entry := range objects(route, "metadata", "managedFields") {
		data, err := json.Marshal(entry["fieldsV1"])
		if err != nil || text(entry, "subresource") != "" || !bytes.Contains(data, []byte(`"f:rules"`)) {
			continue
		}
		// Times are RFC 3339 in UTC, so that they sort as strings.
		if at := text(entry, "time"); manager == "" || at > latest {
			manager, latest = text(entry, "manager"), at
		}
	}
	return manager
}

// objects is the list at a path; what is not an object is left out.
func objects(route *unstructured.Unstructured, path ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(route.Object, path...)
	list, _ := value.([]any)
	var out []map[string]any
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			out = append(out, object)
		}
	}
	return out
}

func shortened(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}
