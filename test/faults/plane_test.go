package faults

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// quirk is how a data plane differs from one that does everything at once and by the book.
type quirk struct {
	name string
	// How long it goes on with the routes, and with the Services and endpoints, of before a change.
	routes, endpoints time.Duration
	// A reference with weight 0 gets every twentieth request all the same.
	servesZero bool
	// A reference to a Service that it does not know makes it answer 500 to every request of the rule.
	strict bool
	// It never fetches a weight below a thousandth.
	floors bool
}

// quirks that are known of gateways; what makes each safe is settle, which is 1 s in these worlds.
func quirks() []quirk {
	return []quirk{
		{name: "by the book"},
		{name: "routes late", routes: 900 * time.Millisecond},
		{name: "endpoints late", endpoints: 900 * time.Millisecond},
		{name: "weight 0 is served", servesZero: true, endpoints: 500 * time.Millisecond},
		{name: "one bad reference spoils the rule", strict: true, endpoints: 900 * time.Millisecond},
		{name: "small weights are floored", floors: true, routes: 400 * time.Millisecond},
	}
}

const (
	// drain is how long a pod answers after it was deleted: its preStop hook.
	drain = 3 * time.Second
	// tick is how often requests come while time passes, and each how many of them for each path.
	tick  = 250 * time.Millisecond
	burst = 6
)

// plane is a data plane in this process: it follows the routes, Services and endpoints that are stored, with a delay, and
// carries real HTTP requests over loopback to a server for each pod.
type plane struct {
	w *world
	quirk
	front  *httptest.Server
	client *http.Client
	chance *rand.Rand
	other  *httptest.Server

	mu     sync.Mutex
	views  []snapshot
	writes int
	pods   map[string]*podServer

	sent, mirrored, failed int
	failures               []string
	by                     map[string]int // answers by revision, since forget
}

// snapshot is what was stored at a time.
type snapshot struct {
	at       time.Time
	rules    []any
	services map[string][]string // names of pods; a key for each Service that there is
}

type podServer struct {
	*httptest.Server
	revision string
	until    time.Time // when it stops; zero while the pod is there
}

func (p *podServer) dead(now time.Time) bool { return !p.until.IsZero() && now.After(p.until) }

// serve puts a data plane into the world.
func (w *world) serve(q quirk) *plane {
	p := &plane{w: w, quirk: q, chance: rand.New(rand.NewPCG(1, 2)), writes: -1, pods: map[string]*podServer{}, by: map[string]int{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	p.front = httptest.NewServer(http.HandlerFunc(p.carry))
	p.other = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X-Revision", "other") }))
	w.t.Cleanup(func() {
		p.client.CloseIdleConnections()
		p.front.Close()
		p.other.Close()
		for _, s := range p.pods {
			s.Close()
		}
		totals.requests.Add(int64(p.sent))
		totals.mirrored.Add(int64(p.mirrored))
		totals.failed.Add(int64(p.failed))
	})
	w.plane = p
	return p
}

// pass lets time go by, with requests meanwhile where there is a data plane.
func (w *world) pass(d time.Duration) {
	if w.plane == nil {
		w.clock.Step(d)
		return
	}
	for d > 0 {
		step := min(d, tick)
		w.clock.Step(step)
		d -= step
		w.plane.requests()
	}
}

// look takes note of what is stored, where anything was written.
func (p *plane) look() {
	w := p.w
	if p.writes == w.ledger.writes {
		return
	}
	p.writes = w.ledger.writes
	s := snapshot{at: w.clock.Now(), services: map[string][]string{}}
	for _, route := range w.routes() {
		list, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
		s.rules = append(s.rules, list...)
	}
	var services corev1.ServiceList
	var slicesList discoveryv1.EndpointSliceList
	var pods corev1.PodList
	w.list(w.t.Context(), &services)
	w.list(w.t.Context(), &slicesList)
	w.list(w.t.Context(), &pods)
	for i := range services.Items {
		s.services[services.Items[i].Name] = nil
	}
	for _, slice := range slicesList.Items {
		name := slice.Labels[discoveryv1.LabelServiceName]
		if _, has := s.services[name]; !has {
			continue
		}
		for _, e := range slice.Endpoints {
			s.services[name] = append(s.services[name], e.TargetRef.Name)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.views = append(p.views, s)
	there := map[string]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		there[pod.Name] = true
		if p.pods[pod.Name] == nil {
			p.pods[pod.Name] = p.pod(pod)
		}
	}
	for name, server := range p.pods {
		if !there[name] && server.until.IsZero() {
			server.until = w.clock.Now().Add(drain)
		}
	}
}

// pod is the server of a pod: one of a bad revision answers 500.
func (p *plane) pod(pod *corev1.Pod) *podServer {
	revision := pod.Labels[v1alpha1.LabelRevision]
	if revision == "" {
		revision = hash("v1") // a Deployment's, before it was taken over
	}
	s := &podServer{revision: revision}
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Revision", revision)
		if r.Header.Get("X-Mirrored") != "" && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
			p.w.t.Errorf("%s: a %s request was done twice", p.w.t.Name(), r.Method)
		}
		if p.w.bad[revision] {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	}))
	return s
}

// of is what was stored a while ago.
func (p *plane) of(lag time.Duration) snapshot {
	now := p.w.clock.Now()
	for _, v := range slices.Backward(p.views) {
		if !v.at.After(now.Add(-lag)) {
			return v
		}
	}
	return p.views[0]
}

// carry is the gateway: it finds the rule of a request, a backend of the rule, and a pod of the backend.
func (p *plane) carry(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	rules, services := p.of(p.routes).rules, p.of(p.endpoints).services
	target, mirror, why := p.choose(rules, services, r)
	p.mu.Unlock()
	if mirror != "" {
		p.mirrored++
		if response, err := p.forward(mirror, r, true); err == nil {
			response.Body.Close()
		}
	}
	if why != "" {
		http.Error(rw, why, http.StatusServiceUnavailable)
		return
	}
	response, err := p.forward(target, r, false)
	if err != nil {
		http.Error(rw, "upstream: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	rw.Header().Set("X-Revision", response.Header.Get("X-Revision"))
	rw.WriteHeader(response.StatusCode)
	_, _ = io.Copy(rw, response.Body)
}

func (p *plane) forward(target string, r *http.Request, mirrored bool) (*http.Response, error) {
	if target == "" {
		return nil, errors.New("connection refused: the pod is gone")
	}
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", to.Scheme, to.Host
	if mirrored {
		out.Header.Set("X-Mirrored", "yes")
	}
	return p.client.Do(out)
}

// choose finds where a request goes, and where its copy does.
func (p *plane) choose(rules []any, services map[string][]string, r *http.Request) (target, mirror, why string) {
	rule := best(rules, r)
	if rule == nil {
		return "", "", "no rule matches"
	}
	refs, _ := rule["backendRefs"].([]any)
	if p.strict {
		for _, item := range refs {
			name := item.(map[string]any)["name"].(string)
			if _, known := services[name]; !known && name != "other" {
				return "", "", fmt.Sprintf("rule %v refers to Service %s, which is not known", rule["name"], name)
			}
		}
	}
	filters, _ := rule["filters"].([]any)
	for _, item := range filters {
		if m, ok := item.(map[string]any)["requestMirror"].(map[string]any); ok {
			percent, _ := m["percent"].(int64)
			to := m["backendRef"].(map[string]any)["name"].(string)
			if percent == 0 || p.chance.Int64N(100) < percent {
				mirror, _ = p.podOf(to, services)
			}
		}
	}
	name := p.backend(refs)
	if name == "" {
		return "", mirror, fmt.Sprintf("rule %v has no backend with weight", rule["name"])
	}
	target, why = p.podOf(name, services)
	return target, mirror, why
}

// podOf is the address of a pod of a Service; empty where the pod is gone.
func (p *plane) podOf(service string, services map[string][]string) (address, why string) {
	if service == "other" {
		return p.other.URL, ""
	}
	pods := services[service]
	if len(pods) == 0 {
		return "", fmt.Sprintf("Service %s has no endpoints", service)
	}
	server := p.pods[pods[p.chance.IntN(len(pods))]]
	if server == nil || server.dead(p.w.clock.Now()) {
		return "", ""
	}
	return server.URL, ""
}

// backend chooses by weight.
func (p *plane) backend(refs []any) string {
	var names []string
	var weights []int64
	var sum int64
	for _, item := range refs {
		ref := item.(map[string]any)
		weight, has := ref["weight"].(int64)
		if !has {
			weight = 1
		}
		names, weights = append(names, ref["name"].(string)), append(weights, weight)
		sum += weight
	}
	if sum == 0 {
		return ""
	}
	for i, weight := range weights {
		if p.floors && weight*1000 < sum {
			weights[i] = 0
		}
	}
	if i := slices.Index(weights, 0); p.servesZero && i >= 0 && p.chance.IntN(20) == 0 {
		return names[i]
	}
	sum = 0
	for _, weight := range weights {
		sum += weight
	}
	at := p.chance.Int64N(sum)
	for i, weight := range weights {
		if at < weight {
			return names[i]
		}
		at -= weight
	}
	return ""
}

// best is the rule that a request belongs to: the longest path, then a method, then the most headers, then the first.
func best(rules []any, r *http.Request) map[string]any {
	var found map[string]any
	most := []int{-1, 0, 0}
	for _, item := range rules {
		rule := item.(map[string]any)
		matches, _ := rule["matches"].([]any)
		if len(matches) == 0 {
			matches = []any{map[string]any{}}
		}
		for _, m := range matches {
			if rank, ok := rank(m.(map[string]any), r); ok && slices.Compare(rank, most) > 0 {
				found, most = rule, rank
			}
		}
	}
	return found
}

func rank(match map[string]any, r *http.Request) ([]int, bool) {
	prefix := "/"
	if path, ok := match["path"].(map[string]any); ok {
		prefix, _ = path["value"].(string)
	}
	out := []int{len(prefix), 0, 0}
	if !strings.HasPrefix(r.URL.Path, prefix) {
		return nil, false
	}
	if method, ok := match["method"].(string); ok {
		out[1] = 1
		if method != r.Method {
			return nil, false
		}
	}
	headers, _ := match["headers"].([]any)
	out[2] = len(headers)
	for _, item := range headers {
		h := item.(map[string]any)
		if r.Header.Get(h["name"].(string)) != h["value"] {
			return nil, false
		}
	}
	return out, true
}

// requests sends a burst of them, now.
func (p *plane) requests() {
	if p == nil || p.w.gone() {
		return
	}
	p.look()
	for range burst {
		p.request(http.MethodGet, "/shop", "")
		p.request(http.MethodPost, "/mixed", "")
		if w := p.w; w.git[app+"-too"] != nil {
			p.request(http.MethodGet, "/too", "")
		}
	}
	p.request(http.MethodGet, "/shop", "shop")
}

// gone says whether the Rollout was deleted, and its pods with it: nobody is left to answer.
func (w *world) gone() bool {
	var ds appsv1.DeploymentList
	w.list(w.t.Context(), &ds)
	return len(ds.Items) == 0 && w.get() == nil
}

// request is one of a user's; it must be answered, unless by a revision that is bad itself.
func (p *plane) request(method, path, team string) {
	r, err := http.NewRequestWithContext(p.w.t.Context(), method, p.front.URL+path, nil)
	p.w.must(err)
	if team != "" {
		r.Header.Set("X-Team", team)
	}
	response, err := p.client.Do(r)
	p.w.must(err)
	body, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	p.w.must(err)
	response.Body.Close()
	p.sent++
	revision := response.Header.Get("X-Revision")
	p.by[revision]++
	if response.StatusCode == http.StatusOK || p.w.bad[revision] && revision != "" {
		return
	}
	p.failed++
	if len(p.failures) < 5 {
		p.failures = append(p.failures, fmt.Sprintf("%s %s at %s: %d %s (%s)", method, path, p.w.clock.Now().Format("15:04:05.000"), response.StatusCode, strings.TrimSpace(string(body)), p.w.told()))
	}
}

// forget begins the count of answers by revision anew.
func (p *plane) forget() { p.by = map[string]int{} }

// served checks that nobody's request has failed, and that requests are now answered by a revision, and it alone.
func (p *plane) served(revision string) {
	p.w.t.Helper()
	for _, f := range p.failures {
		p.w.check.violate(p.w, "requests", "T3", "%d of %d requests failed, e.g. %s", p.failed, p.sent, f)
	}
	p.w.pass(3 * time.Second)
	p.forget()
	before := p.sent
	for range 10 {
		p.requests()
	}
	if p.w.gone() {
		return
	}
	if got := p.by[revision] + p.by["other"]; revision != "" && (got == 0 || got != p.sent-before) {
		p.w.check.violate(p.w, "the end", "T10", "answers by revision %v, want %s alone", p.by, revision)
	}
}
