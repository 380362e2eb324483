package gatewayapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// reference is one backendRef of a rule.
type reference struct {
	at     int            // index in backendRefs
	raw    map[string]any // live content, never modified
	key    string         // identity: group, kind, namespace, name and port
	weight *int64         // nil when absent, which means 1
}

func (r reference) value() int64 { return weightOr1(r.weight) }

func weightOr1(w *int64) int64 {
	if w == nil {
		return 1
	}
	return *w
}

// rule is one rule of a route with its references sorted by role, each list in
// the order of the rule.
type rule struct {
	index                   int
	name, print             string
	stable, canary, foreign []reference
	count                   int
	unreadable              string         // why the rule cannot be understood
	raw                     map[string]any // live content, never modified
}

func (r rule) String() string {
	if r.name != "" {
		return fmt.Sprintf("rule %q", r.name)
	}
	return fmt.Sprintf("spec.rules[%d]", r.index)
}

// readRules reads every rule of the route; what is not a rule is left out.
func readRules(route *unstructured.Unstructured, s Split) []rule {
	list, _, _ := unstructured.NestedFieldNoCopy(route.Object, "spec", "rules")
	items, _ := list.([]any)
	var rules []rule
	for i, item := range items {
		if content, ok := item.(map[string]any); ok {
			rules = append(rules, readRule(i, content, s.backends(route.GetNamespace())))
		}
	}
	return rules
}

func readRule(index int, content map[string]any, b backends) rule {
	r := rule{index: index, name: text(content, "name"), print: fingerprint(content["matches"]), raw: content}
	items, _ := content["backendRefs"].([]any)
	r.count = len(items)
	for i, item := range items {
		raw, ok := item.(map[string]any)
		if !ok || text(raw, "name") == "" {
			r.unreadable = fmt.Sprintf("%s: backendRefs[%d] is not a reference with a name", r, i)
			continue
		}
		weight, err := readWeight(raw)
		if err != nil {
			r.unreadable = fmt.Sprintf("%s: backendRefs[%d] has %v", r, i, err)
		}
		ref := reference{at: i, raw: raw, key: b.key(raw), weight: weight}
		switch {
		case b.is(raw, b.stable):
			r.stable = append(r.stable, ref)
		case b.is(raw, b.canary):
			r.canary = append(r.canary, ref)
		default:
			r.foreign = append(r.foreign, ref)
		}
	}
	return r
}

// backends tells references to the two Services from all others.
type backends struct {
	route          string // namespace that a reference without one means
	namespace      string // of the Services
	stable, canary string
}

func (s Split) backends(routeNamespace string) backends {
	b := backends{route: routeNamespace, namespace: s.Namespace, stable: s.StableService, canary: s.CanaryService}
	if b.namespace == "" {
		b.namespace = b.route
	}
	if b.route == "" {
		b.route = b.namespace
	}
	return b
}

func (b backends) is(raw map[string]any, service string) bool {
	group, kind, namespace := b.identity(raw)
	return service != "" && group == "" && kind == "Service" && namespace == b.namespace && text(raw, "name") == service
}

func (b backends) identity(raw map[string]any) (group, kind, namespace string) {
	group, kind, namespace = text(raw, "group"), text(raw, "kind"), text(raw, "namespace")
	if group == "core" {
		group = ""
	}
	if kind == "" {
		kind = "Service"
	}
	if namespace == "" {
		namespace = b.route
	}
	return group, kind, namespace
}

// key is short for the usual Service in the route's namespace: name:port.
func (b backends) key(raw map[string]any) string {
	group, kind, namespace := b.identity(raw)
	key := text(raw, "name")
	if namespace != b.route {
		key = namespace + "/" + key
	}
	if group != "" || kind != "Service" {
		key = group + "/" + kind + "/" + key
	}
	if port, ok := integer(raw["port"]); ok {
		key += ":" + strconv.FormatInt(port, 10)
	}
	return key
}

// copyAs is the reference under another name and weight; everything else is shared.
func (r reference) copyAs(name string, weight int64) map[string]any {
	out := maps.Clone(r.raw)
	out["name"], out["weight"] = name, weight
	return out
}

// sameButName says that a reference differs from r in name and weight only.
func (r reference) sameButName(other reference) bool {
	a, b := r.copyAs("", 0), other.copyAs("", 0)
	return reflect.DeepEqual(a, b)
}

func text(object map[string]any, field string) string {
	s, _ := object[field].(string)
	return s
}

// integer accepts both forms in which decoders deliver a whole number.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}

func readWeight(raw map[string]any) (*int64, error) {
	v, ok := raw["weight"]
	if !ok || v == nil {
		return nil, nil
	}
	w, ok := integer(v)
	if !ok || w < 0 || w > maxWeight {
		return nil, fmt.Errorf("a weight that is not a whole number from 0 to %d", maxWeight)
	}
	return &w, nil
}

// fingerprint identifies a rule's matches, whether or not the API server has
// filled in the defaults.
func fingerprint(matches any) string {
	list, _ := matches.([]any)
	if len(list) == 0 {
		return everything
	}
	bare := make([]any, 0, len(list))
	for _, m := range list {
		bare = append(bare, withoutDefaults("match", m))
	}
	if len(bare) == 1 && reflect.DeepEqual(bare[0], map[string]any{}) {
		bare = bare[:0] // one match on everything is the default for no matches
	}
	data, err := json.Marshal(bare)
	if err != nil {
		return ""
	}
	return digest(data)
}

// everything is the fingerprint of a rule without matches.
var everything = digest([]byte("[]"))

func digest(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:6])
}

// defaultTypes are the match types that the API server fills in, by field.
var defaultTypes = map[string]string{
	"path": "PathPrefix", "headers": "Exact", "queryParams": "Exact", "method": "Exact",
}

// withoutDefaults drops the defaults of one match or of a part of it.
func withoutDefaults(field string, v any) any {
	switch content := v.(type) {
	case []any:
		out := make([]any, len(content))
		for i, item := range content {
			out[i] = withoutDefaults(field, item)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, item := range content {
			out[k] = withoutDefaults(k, item)
		}
		if out["type"] == defaultTypes[field] {
			delete(out, "type")
		}
		if path, ok := out["path"].(map[string]any); ok && len(path) <= 1 && (len(path) == 0 || path["value"] == "/") {
			delete(out, "path")
		}
		return out
	default:
		return v
	}
}
