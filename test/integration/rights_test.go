package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
)

// rights are the verbs that the controller was seen to use, at the transport.
var rights = &ledger{verbs: map[string]map[string]bool{}}

// ledger counts requests by resource and verb.
type ledger struct {
	mu    sync.Mutex
	verbs map[string]map[string]bool
	// requests other than watches and what is not about resources; kept as text for messages.
	requests []string
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (l *ledger) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		resource, verb := requested(r)
		l.mu.Lock()
		if resource != "" {
			if l.verbs[resource] == nil {
				l.verbs[resource] = map[string]bool{}
			}
			l.verbs[resource][verb] = true
		}
		if verb != "watch" {
			l.requests = append(l.requests, r.Method+" "+r.URL.Path)
		}
		l.mu.Unlock()
		return next.RoundTrip(r)
	})
}

func (l *ledger) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests[n:])
}

// requested is the resource with its group and subresource, and the verb, as RBAC names them.
func requested(r *http.Request) (resource, verb string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, parts = parts[1]+"/", parts[3:]
	default:
		return "", "" // discovery
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource = group + parts[0]
	if strings.HasSuffix(group, ".example.com/") { // of TestPolicyOfOneRuleIsFoundInTheCluster, whose group has a name by chance
		resource = "a kind that --route-policies names"
	}
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	verb = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") == "true":
		verb = "watch"
	case r.Method == http.MethodGet && len(parts) > 1:
		verb = "get"
	case r.Method == http.MethodGet:
		verb = "list"
	}
	return resource, verb
}

func (l *ledger) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out strings.Builder
	for _, resource := range slices.Sorted(maps.Keys(l.verbs)) {
		if l.verbs[resource]["watch"] {
			l.verbs[resource]["list"] = true // a cache lists where the API server cannot stream the beginning
		}
		fmt.Fprintf(&out, "%s: %s\n", resource, strings.Join(slices.Sorted(maps.Keys(l.verbs[resource])), ", "))
	}
	return out.String()
}

// compareRights holds the verbs that the whole package made the controller use against testdata/rights.golden.
func compareRights() int {
	const path = "testdata/rights.golden"
	got := rights.text()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		fmt.Printf("--- FAIL: the controller needs other rights than %s says (%v):\n%s", path, err, got)
		return 1
	}
	return 0
}
