package testbed

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/belay-delivery/belay/test/testbed/parts"
)

// Components of a testbed.
const (
	ControlPlane = "controlplane" // etcd, API server, controller manager, scheduler, Gateway API definitions
	Node         = "node"         // runs pods
	Gateway      = "gateway"      // Traefik with a GatewayClass and a Gateway
	Prometheus   = "prometheus"   // scrapes pods and the gateway
	Git          = "git"          // smart HTTP
)

// AllComponents lists them in the order of their start.
var AllComponents = []string{Git, ControlPlane, Node, Gateway, Prometheus}

// Options say what a testbed consists of.
type Options struct {
	Dir        string        // its folder
	Components []string      // empty: all
	Throttle   time.Duration // least time between two configuration changes of the gateway; default 100 ms, its own default is 2 s
	Timeout    time.Duration // until everything works; default 2 min
	Program    string        // the testbed command, for the parts it contains; default this program
	Out        io.Writer     // progress, for people
}

func (o Options) has(component string) bool { return slices.Contains(o.Components, component) }

func (o *Options) complete() error {
	if o.Dir == "" {
		return fmt.Errorf("no folder given")
	}
	if len(o.Components) == 0 {
		o.Components = AllComponents
	}
	for _, c := range o.Components {
		if !slices.Contains(AllComponents, c) {
			return fmt.Errorf("unknown component %q, want some of %v", c, AllComponents)
		}
		if c != Git && !o.has(ControlPlane) {
			return fmt.Errorf("component %q needs component %q", c, ControlPlane)
		}
	}
	if o.Throttle == 0 {
		o.Throttle = 100 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Program == "" {
		o.Program = "/proc/self/exe"
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return nil
}

// Needs returns the parts that the components are made of.
func Needs(components []string) []string {
	if len(components) == 0 {
		components = AllComponents
	}
	var names []string
	for _, c := range components {
		names = append(names, map[string][]string{
			ControlPlane: {parts.CRDs, parts.Kubebox}, Node: {parts.Sample}, Gateway: {parts.Traefik}, Prometheus: {parts.Prometheus},
		}[c]...)
	}
	return names
}

// Info is the content of testbed.json: where everything is. What is not part of the testbed is left out.
type Info struct {
	Dir           string            `json:"dir"`
	PID           int               `json:"pid"` // the process that keeps the testbed; its namespaces are the testbed's
	Components    []string          `json:"components"`
	Programs      map[string]string `json:"programs"`                // part name to path
	Kubeconfig    string            `json:"kubeconfig,omitempty"`    // of a cluster administrator
	APIServerURL  string            `json:"apiServerURL,omitempty"`  //
	Assets        string            `json:"assets,omitempty"`        // folder with etcd, kube-apiserver and kubectl: KUBEBUILDER_ASSETS
	GatewayURL    string            `json:"gatewayURL,omitempty"`    // where traffic enters
	GatewayAPIURL string            `json:"gatewayAPIURL,omitempty"` // Traefik's own API and /metrics
	GatewayClass  string            `json:"gatewayClass,omitempty"`  //
	GatewayName   string            `json:"gatewayName,omitempty"`   // of the Gateway object
	GatewayNS     string            `json:"gatewayNamespace,omitempty"`
	PrometheusURL string            `json:"prometheusURL,omitempty"`
	GitURL        string            `json:"gitURL,omitempty"`  // <gitURL>/<name>.git
	GitRoot       string            `json:"gitRoot,omitempty"` // folder of the bare repositories
	GitUser       string            `json:"gitUser,omitempty"` // for <gitURL>/private/<name>.git
	GitPassword   string            `json:"gitPassword,omitempty"`
	Images        string            `json:"images,omitempty"`  // folder: <image>/entrypoint
	PodCIDR       string            `json:"podCIDR,omitempty"` //
	Logs          string            `json:"logs"`              // folder
	Processes     []Process         `json:"processes"`
	ReadySeconds  float64           `json:"readySeconds"` // from the start to all working
}
