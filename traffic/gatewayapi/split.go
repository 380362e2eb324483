package gatewayapi

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// Annotation records the original weights on a route while a split is in
	// progress. At rest it is absent.
	Annotation = "belay.dev/split"

	// maxWeight and maxRefs are the limits of the Gateway API.
	maxWeight = 1_000_000
	maxRefs   = 16
)

// Split is what one Rollout wants of one route.
type Split struct {
	// Namespace of the Rollout and of both Services; empty means the route's.
	Namespace string
	// StableService is the user's Service; rules that refer to it are managed.
	StableService string
	// CanaryService gets the canary's part. Its reference is a copy of the
	// stable one: same port, same filters.
	CanaryService string
	// Rules are the names of the rules to manage; empty means every rule that
	// refers to StableService.
	Rules []string
	// Total is the denominator of Canary: 1 to 1000000.
	Total int32
	// Canary is the canary's part of what the stable Service had: 0 to Total.
	Canary int32
	// Match sends the requests that it selects to the canary whatever Canary is:
	// every managed rule gets a copy before it, with the match added and the
	// canary alone behind it. Nil or empty, as with Present false: no copies.
	Match *Match
	// Mirror sends a share of the requests to the canary a second time, through
	// copies of the managed rules. It does not go together with Match or with a
	// weight of the canary.
	Mirror *Mirror
	// Probe is a token, a DNS label, that tells this version of the route from
	// others: a rule at the end answers with it. Empty: no such rule.
	Probe string
	// Present says that the canary is referred to. False restores the original.
	Present bool
	// Ours says that Belay is known to have added the canary reference (the
	// Rollout's status says so). It decides only where the record is missing
	// from the route: then a canary reference counts as ours, not the user's.
	Ours bool
	// Owner is the Rollout as namespace/name; the record is kept under it.
	Owner string
}

// View is what a route says now, derived from the live object only.
type View struct {
	// Managed is the number of rules that refer to the stable Service.
	Managed int
	// Injected: every managed rule refers to the canary Service.
	Injected bool
	// Traces: a record of this Rollout, or a canary reference that it added, is
	// in the route. At rest it is false.
	Traces bool
	// Matched: a rule that this Rollout inserted for a Match is in the route, as
	// wanted or not, or for a Mirror. Requests may reach the canary whatever its weight.
	Matched bool
	// CopyMissing: a rule that the Match needs is not there as wanted. CopyExtra:
	// a rule is there that the Match does not want, or not so.
	CopyMissing, CopyExtra bool
	// MinCanary and MaxCanary are the canary's part of its pair with stable, in
	// units of Split.Total (of 100 when that is not set), over all managed rules whose pair has any weight.
	// The minimum is rounded down and the maximum up.
	MinCanary, MaxCanary int32
	// Matches: the route is exactly as the Split wants it; Patch has nothing to do.
	Matches bool
	// StablePresent: every managed rule refers to the stable Service. False also
	// when there is no managed rule.
	StablePresent bool
	// PreListed: the user lists the canary Service in a managed rule themselves.
	PreListed bool
	// Problem says why the Split cannot be applied; empty when it can, and
	// always when Split.Present is false.
	Problem string
	// Ports are those of the stable references, ascending and without
	// duplicates. The canary Service must offer all of them.
	Ports []int32
}

// Inspect reads what the route says now and compares it with s.
func Inspect(route *unstructured.Unstructured, s Split) View {
	p := planRoute(route, s)
	v := p.view()
	v.Matches = len(p.problems) == 0 && p.settled() && (!s.Present || v.Managed > 0)
	if len(p.problems) > 0 {
		v.Problem = p.problems[0]
	}
	return v
}

// Patch is the RFC 6902 patch that makes the route as s wants it, nil when
// nothing is to be done. It begins with test operations on the identity and
// version of the route and on the name of every reference that it touches.
//
// A Split with a Problem is an error only while Canary is above 0, or a Match or
// a Mirror is wanted: taking the canary's weight and the copies away, and restoring, do what
// can be done and never fail.
func Patch(route *unstructured.Unstructured, s Split) ([]byte, error) {
	p := planRoute(route, s)
	if s.Present && (s.Canary > 0 || s.inserts()) && len(p.problems) > 0 {
		return nil, fmt.Errorf("splitting route %s: %s", p.name, p.problems[0])
	}
	if p.settled() {
		return nil, nil
	}
	data, err := json.Marshal(p.operations(route))
	if err != nil {
		return nil, fmt.Errorf("encoding the patch of route %s: %w", p.name, err)
	}
	return data, nil
}
