package gatewayapi

import (
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// record is what one Rollout keeps on a route while it splits it. Original
// weights plus the split applied last give our last write by computation.
type record struct {
	Namespace string   `json:"namespace"`
	Stable    string   `json:"stable"`
	Canary    string   `json:"canary"`
	Only      []string `json:"only,omitempty"`
	Weight    int32    `json:"weight"` // the canary's, of Total
	Total     int32    `json:"total"`
	Rules     []entry  `json:"rules"`
	Match     *Match   `json:"match,omitempty"`  // applied last
	Mirror    *Mirror  `json:"mirror,omitempty"` // applied last
	Probe     string   `json:"probe,omitempty"`  // applied last
	Copies    []copied `json:"copies,omitempty"` // the rules that we inserted for either
}

// entry is the original of one rule.
type entry struct {
	Name    string   `json:"name,omitempty"`
	Print   string   `json:"matches,omitempty"`
	Listed  bool     `json:"listed,omitempty"` // the canary reference is the user's
	Stable  []origin `json:"stable"`
	Foreign []origin `json:"others,omitempty"`
}

// origin is the original weight of one reference; nil when it was absent.
type origin struct {
	Key    string `json:"ref"`
	Weight *int64 `json:"weight,omitempty"`
}

// readRecords reads the annotation: one record per Rollout. What cannot be read
// counts as absent, as what cannot be trusted must not be acted upon.
func readRecords(route *unstructured.Unstructured) map[string]record {
	return decodeRecords(route.GetAnnotations()[Annotation])
}

func decodeRecords(value string) map[string]record {
	if value == "" {
		return nil // as nearly always
	}
	var records map[string]record
	if err := json.Unmarshal([]byte(value), &records); err != nil {
		return nil
	}
	for owner, r := range records {
		if !r.sound() {
			delete(records, owner)
		}
	}
	return records
}

// sound says that computing with the record cannot go wrong.
func (r record) sound() bool {
	if r.Total < 1 || r.Total > maxWeight || r.Weight < 0 || r.Weight > r.Total ||
		r.Stable == "" || r.Canary == "" || r.Stable == r.Canary {
		return false
	}
	for _, e := range r.Rules {
		if len(e.Stable) == 0 {
			return false
		}
		for _, o := range slices.Concat(e.Stable, e.Foreign) {
			if w := weightOr1(o.Weight); w < 0 || w > maxWeight {
				return false
			}
		}
	}
	return true
}

// injects says that some rule of the record holds a reference that we added.
func (r record) injects() bool {
	return slices.ContainsFunc(r.Rules, func(e entry) bool { return !e.Listed })
}

// written are the weights that we wrote last into the rule of e.
func (r record) written(e entry) parts {
	return divide(values(e.Stable), values(e.Foreign), int64(r.Weight), int64(r.Total))
}

func (e entry) backends() []string {
	var keys []string
	for _, o := range slices.Concat(e.Stable, e.Foreign) {
		keys = append(keys, o.Key)
	}
	slices.Sort(keys)
	return keys
}

// equal ignores whether a weight of 1 was written or absent, which the API
// server does not preserve.
func (e entry) equal(other entry) bool {
	same := func(a, b origin) bool { return a.Key == b.Key && weightOr1(a.Weight) == weightOr1(b.Weight) }
	return e.Name == other.Name && e.Print == other.Print && e.Listed == other.Listed &&
		slices.EqualFunc(e.Stable, other.Stable, same) && slices.EqualFunc(e.Foreign, other.Foreign, same)
}

// assign finds the entry of every rule: by name, then by matches and backends,
// by matches, and by backends. Each entry is given out once. strong says that
// the name or the matches agree.
func assign(rules []rule, entries []entry) (found map[int]entry, strong map[int]bool) {
	found, strong = map[int]entry{}, map[int]bool{}
	taken := make([]bool, len(entries))
	passes := []func(rule, entry) bool{
		func(r rule, e entry) bool { return r.name != "" && r.name == e.Name },
		func(r rule, e entry) bool { return r.print == e.Print && slices.Equal(r.backends(), e.backends()) },
		func(r rule, e entry) bool { return r.print == e.Print && (r.name == "" || e.Name == "") },
		func(r rule, e entry) bool { return slices.Equal(r.backends(), e.backends()) },
	}
	for pass, fits := range passes {
		for _, r := range rules {
			if _, done := found[r.index]; done || !r.concerns() {
				continue
			}
			for i, e := range entries {
				if !taken[i] && fits(r, e) {
					taken[i], found[r.index], strong[r.index] = true, e, pass < 3
					break
				}
			}
		}
	}
	return found, strong
}

// concerns says that the rule refers to one of our Services.
func (r rule) concerns() bool { return len(r.stable)+len(r.canary) > 0 }

func (r rule) backends() []string {
	var keys []string
	for _, ref := range slices.Concat(r.stable, r.foreign) {
		keys = append(keys, ref.key)
	}
	slices.Sort(keys)
	return keys
}

func values(origins []origin) []int64 {
	out := make([]int64, len(origins))
	for i, o := range origins {
		out[i] = weightOr1(o.Weight)
	}
	return out
}

func originsOf(refs []reference) []origin {
	var out []origin
	for _, ref := range refs {
		out = append(out, origin{Key: ref.key, Weight: ref.weight})
	}
	return out
}

func liveWeights(refs []reference) []int64 { return values(originsOf(refs)) }

// encode is the value of the annotation; empty when there are no records.
func encode(records map[string]record) string {
	if len(records) == 0 {
		return ""
	}
	data, err := json.Marshal(records)
	if err != nil { // plain data: cannot happen, and must not be written if it does
		panic(fmt.Sprintf("encoding the split annotation: %v", err))
	}
	return string(data)
}
