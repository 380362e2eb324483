package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Compare judges the canary against the stable revision that runs beside it, by a sequential test on raw counters that may be
// looked at after every scrape. All compare metrics of a run are judged together: over all of them and all looks, a canary
// that is no worse than the margins is halted with a probability of at most the run's false abort rate, 1 % by default.
//
// +kubebuilder:validation:XValidation:rule="(has(self.errors) ? 1 : 0) + (has(self.latency) ? 1 : 0) + (has(self.gauge) ? 1 : 0) + (has(self.restarts) ? 1 : 0) == 1",message="exactly one of errors, latency, gauge and restarts must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.errors) || has(self.preset) || has(self.errors.total) && has(self.errors.bad)",message="errors needs total and bad, or compare.preset that fills them in"
// +kubebuilder:validation:XValidation:rule="!has(self.latency) || has(self.preset) || has(self.latency.histogram)",message="latency needs histogram, or compare.preset that fills it in"
// +kubebuilder:validation:XValidation:rule="!has(self.matchers) || has(self.preset)",message="matchers needs preset: they are added to its selectors"
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || self.preset != 'nginx-gateway-fabric'",message="preset nginx-gateway-fabric: NGINX Gateway Fabric counts the requests of all backends together, so that the two revisions cannot be told apart: take the application's own metrics, with preset http-server or otel-http"
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || self.preset != 'envoy-gateway' || !has(self.latency) || has(self.latency.histogram)",message="preset envoy-gateway: Envoy Gateway measures the durations of both revisions in one histogram: take latency from the application, with preset http-server or otel-http"
// +kubebuilder:validation:XValidation:rule="!has(self.preset) || has(self.errors) || has(self.latency)",message="preset fills in errors or latency: gauge and restarts go without it"
// +kubebuilder:validation:XValidation:rule="!has(self.restarts) || !has(self.prometheus) && !has(self.arms)",message="restarts are counted from the pods themselves: prometheus and arms do not go with them"
type Compare struct {
	// preset fills in what is left out of total, bad, histogram and arms: the series of a well-known source of metrics. An
	// empty object, such as errors: {}, leaves out all of them.
	// +optional
	// +kubebuilder:validation:Enum=http-server;otel-http;traefik;envoy-gateway;istio;cilium;linkerd;nginx-gateway-fabric
	Preset PresetName `json:"preset,omitempty"`
	// matchers are added to the selectors that preset fills in, e.g. handler!="/healthz",method="POST".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Matchers string `json:"matchers,omitempty"`
	// errors compares the shares of bad requests.
	// +optional
	Errors *CompareErrors `json:"errors,omitempty"`
	// latency compares distributions of durations.
	// +optional
	Latency *CompareLatency `json:"latency,omitempty"`
	// gauge compares a quantity that each pod has at all times, such as memory in use. It advises unless onWorse is Halt.
	// +optional
	Gauge *CompareGauge `json:"gauge,omitempty"`
	// restarts compares how often containers restart, or run out of memory.
	// +optional
	Restarts *CompareRestarts `json:"restarts,omitempty"`
	// prometheus is the server that has the series. Default: the manager's --prometheus-address.
	// +optional
	Prometheus *PrometheusServer `json:"prometheus,omitempty"`
	// arms tell the series of the two revisions apart. Default: as preset says, else by the label pod, whose values are the
	// names of pods.
	// +optional
	Arms *CompareArms `json:"arms,omitempty"`
	// providerErrorLimit is how many provider errors in a row are borne before onProviderError applies. Default 4.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ProviderErrorLimit *int32 `json:"providerErrorLimit,omitempty"`
}

// PresetName is the name of a well-known source of metrics.
type PresetName string

// Values of PresetName.
const (
	// PresetHTTPServer is the application itself, by HTTP middleware: http_requests_total with the label code, and
	// http_request_duration_seconds.
	PresetHTTPServer PresetName = "http-server"
	// PresetOTelHTTP is the application itself, by OpenTelemetry's semantic conventions for HTTP servers.
	PresetOTelHTTP PresetName = "otel-http"
	// PresetTraefik is Traefik, for HTTPRoutes.
	PresetTraefik PresetName = "traefik"
	// PresetEnvoyGateway is Envoy Gateway, for errors alone, where it counts by endpoint.
	PresetEnvoyGateway PresetName = "envoy-gateway"
	// PresetIstio is Istio, by its gateways and the sidecars of callers.
	PresetIstio PresetName = "istio"
	// PresetCilium is Cilium, by the metrics of its Envoy.
	PresetCilium PresetName = "cilium"
	// PresetLinkerd is Linkerd, by the proxies of callers.
	PresetLinkerd PresetName = "linkerd"
	// PresetNGINXGatewayFabric is refused: its metrics do not tell the revisions apart.
	PresetNGINXGatewayFabric PresetName = "nginx-gateway-fabric"
)

// CompareErrors names two counters. Selectors, not expressions: raw samples are asked for, never rate() or increase().
type CompareErrors struct {
	// total selects the counter of all requests, e.g. http_requests_total{service="{{args.service}}"}. Default: the preset's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Total string `json:"total,omitempty"`
	// bad selects the counter of the bad ones among them, e.g. http_requests_total{service="{{args.service}}",code=~"5.."}.
	// Default: the preset's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Bad string `json:"bad,omitempty"`
	// margin that is borne. Default: ratio 1.3 and absolute 0.001.
	// +optional
	Margin *ErrorMargin `json:"margin,omitempty"`
	// objective is the share of bad requests of stable, above 0 and below 1, beyond which stable itself counts as broken:
	// nothing is concluded then, neither against the canary nor for it. Default 0.5.
	// +optional
	// +kubebuilder:default="0.5"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^0\.[0-9]*[1-9][0-9]*$`
	Objective string `json:"objective,omitempty"`
}

// ErrorMargin is how much greater the canary's share of bad requests may be: ratio times stable's, plus absolute.
type ErrorMargin struct {
	// ratio of the shares, from 1 to 100, a decimal number as text. Default 1.3.
	// +optional
	// +kubebuilder:default="1.3"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?(\.[0-9]+)?|100)$`
	Ratio string `json:"ratio,omitempty"`
	// absolute is added, a share from 0 to below 1, a decimal number as text. Default 0.001.
	// +optional
	// +kubebuilder:default="0.001"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^0(\.[0-9]+)?$`
	Absolute string `json:"absolute,omitempty"`
}

// LatencyUnit is the unit of durations.
type LatencyUnit string

// Values of LatencyUnit.
const (
	UnitSeconds      LatencyUnit = "Seconds"
	UnitMilliseconds LatencyUnit = "Milliseconds"
)

// CompareLatency names a histogram of durations, classic or native.
type CompareLatency struct {
	// histogram selects it, without a suffix, e.g. http_request_duration_seconds{service="{{args.service}}"}. Default: the
	// preset's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Histogram string `json:"histogram,omitempty"`
	// unit of the histogram's durations: Seconds or Milliseconds. Default: as preset says, else Seconds.
	// +optional
	// +kubebuilder:validation:Enum=Seconds;Milliseconds
	Unit LatencyUnit `json:"unit,omitempty"`
	// margin that is borne. Default: ratio 1.15, on the scale of time.
	// +optional
	Margin *LatencyMargin `json:"margin,omitempty"`
}

// LatencyMargin is how much slower the canary may be.
type LatencyMargin struct {
	// ratio of the durations, from 1 to 100, a decimal number as text: 1.15 is 15 % slower. Default 1.15.
	// +optional
	// +kubebuilder:default="1.15"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?(\.[0-9]+)?|100)$`
	Ratio string `json:"ratio,omitempty"`
}

// PrometheusServer says whom to ask.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || has(self.address)",message="secretRef needs address: credentials are never sent to the default server"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || has(self.address)",message="headers needs address: nothing but the query is sent to the default server"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || has(self.secretRef) || !self.headers.exists(h, has(h.secretKey))",message="a header with secretKey needs secretRef, the Secret that has the key"
type PrometheusServer struct {
	// address of the server, e.g. https://prometheus.monitoring:9090. Default: the manager's --prometheus-address.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#]+(/[^@?#]*)?$`
	Address string `json:"address,omitempty"`
	// secretRef names a Secret of this namespace with the credentials for address: bearerToken, or username and
	// password; ca.crt; tls.crt and tls.key. It needs address to be set.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// headers are sent with every query, e.g. X-Scope-OrgID. They need address to be set.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Headers []PrometheusHeader `json:"headers,omitempty"`
	// timeout of one query, at most 60s. Default 10s.
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('60s') && duration(self) > duration('0s')",message="timeout must be above 0s and at most 60s"
	Timeout Duration `json:"timeout,omitempty"`
}

// PrometheusHeader is a header of HTTP that is sent with every query.
//
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretKey)",message="exactly one of value and secretKey must be set"
// +kubebuilder:validation:XValidation:rule="!(self.name.lowerAscii() in ['authorization', 'proxy-authorization', 'host', 'user-agent', 'cookie', 'connection', 'content-length', 'content-type', 'content-encoding', 'accept-encoding', 'transfer-encoding', 'te', 'trailer', 'upgrade'])",message="this header cannot be set: credentials belong into secretRef, and the rest is HTTP's own"
type PrometheusHeader struct {
	// name of the header; it may occur once, whatever its case.
	// +required
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	Name string `json:"name"`
	// value of the header, one line.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	Value string `json:"value,omitempty"`
	// secretKey is the key in the data of secretRef's Secret that holds the value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	SecretKey string `json:"secretKey,omitempty"`
}

// CompareArms tell series of the canary from those of stable by a label.
//
// +kubebuilder:validation:XValidation:rule="has(self.canary) == has(self.stable)",message="canary and stable go together"
type CompareArms struct {
	// label that is told by. Default pod.
	// +optional
	// +kubebuilder:default=pod
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	Label string `json:"label,omitempty"`
	// canary is a regular expression for the label's values of the canary, anchored at both ends, e.g.
	// {{namespace}}-{{canary.service}}-.* for series of a gateway's backends. Unset, the values are names of pods.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Canary string `json:"canary,omitempty"`
	// stable is the same for the stable revision.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Stable string `json:"stable,omitempty"`
}

// RunStep is a step whose traffic was confirmed.
type RunStep struct {
	// since is when its traffic was confirmed: its evidence counts from then on.
	// +required
	Since metav1.Time `json:"since"`
	// weight of the canary, in units of 1/totalWeight.
	// +optional
	Weight int32 `json:"weight,omitempty"`
	// nextWeight is that of the step after it: what must be proven safe.
	// +optional
	NextWeight int32 `json:"nextWeight,omitempty"`
	// totalWeight is the denominator of both.
	// +required
	// +kubebuilder:validation:Minimum=1
	TotalWeight int32 `json:"totalWeight"`
}

// Comparison is what is known of a compare metric, all numbers since the run began.
type Comparison struct {
	// state says what may be done by this metric alone: Halt, Step, Watch, Hold, or Inconclusive where the run ended before.
	// +optional
	State ComparisonState `json:"state,omitempty"`
	// step that the verdict and safety speak of; unset before the run was told of one.
	// +optional
	Step *RunStep `json:"step,omitempty"`
	// canaryRequests were measured of the canary, stableRequests of stable.
	// +optional
	CanaryRequests int64 `json:"canaryRequests,omitempty"`
	// canaryBad of canaryRequests were bad: errors, or slower than bound.
	// +optional
	CanaryBad int64 `json:"canaryBad,omitempty"`
	// stableRequests were measured of stable.
	// +optional
	StableRequests int64 `json:"stableRequests,omitempty"`
	// stableBad of stableRequests were bad.
	// +optional
	StableBad int64 `json:"stableBad,omitempty"`
	// bound in seconds above which a request is told of as bad; of latency only.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Bound string `json:"bound,omitempty"`
	// dispersion between stable pods; 1 is that of independent requests.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Dispersion string `json:"dispersion,omitempty"`
	// harm is the evidence that the canary is worse than the margin: it is halted when that of all metrics together is 1 over the false abort rate: 100 by default.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Harm string `json:"harm,omitempty"`
	// safety is the evidence, since the step began, that more traffic is safe: 20 opens the step.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Safety string `json:"safety,omitempty"`
	// canaryMean is the canary's mean duration in seconds, its gauge, or its restarts in an hour of a pod.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	CanaryMean string `json:"canaryMean,omitempty"`
	// stableMean is the same of stable.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	StableMean string `json:"stableMean,omitempty"`
	// meanRatio is the ratio of the means, canary to stable: the most likely one, and those between which it lies.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MeanRatio string `json:"meanRatio,omitempty"`
	// ratio of the shares of bad requests, canary to stable: the most likely one, and those between which it lies.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Ratio string `json:"ratio,omitempty"`
	// wait is how long the proof of safety will take at the present traffic.
	// +optional
	Wait Duration `json:"wait,omitempty"`
}
