package v1alpha1

// Web asks an HTTP server, and judges its answer. An answer of status 2xx, or of one in judgedStatuses, is judged; every other
// one, no answer within timeout, one above 1 MiB, and one that value or condition cannot be evaluated on are provider errors,
// which count neither for nor against. Without value and condition 2xx passes, and what judgedStatuses adds fails.
//
// Redirects are followed within the same scheme, host and port only. Loopback and link-local addresses, and those of metadata
// services of clouds, are refused, unless the manager was started with --allow-local-web-checks.
//
// +kubebuilder:validation:XValidation:rule="!has(self.value) || has(self.min) || has(self.max) || has(self.condition)",message="web.value needs min, max or condition"
// +kubebuilder:validation:XValidation:rule="has(self.value) || (!has(self.min) && !has(self.max))",message="web.min and web.max need value"
// +kubebuilder:validation:XValidation:rule="!has(self.condition) || (!has(self.min) && !has(self.max))",message="web.condition goes without min and max: it may use value"
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",message="web.min must not exceed web.max"
// +kubebuilder:validation:XValidation:rule="!has(self.body) || self.method in ['POST', 'PUT']",message="web.body needs method POST or PUT"
type Web struct {
	// url that is asked. It may use {{args.name}}, {{namespace}}, {{canary.service}}, {{stable.service}}, {{canary.revision}} and
	// {{stable.revision}}, e.g. http://{{canary.service}}.{{namespace}}.svc:8080/healthz. Values are escaped; in the host they must
	// be letters, digits, dots and dashes.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#]+([/?][^#]*)?$`
	URL string `json:"url"`
	// method of the request. Default GET.
	// +optional
	// +kubebuilder:default=GET
	// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT
	Method string `json:"method,omitempty"`
	// headers of the request.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []WebHeader `json:"headers,omitempty"`
	// body of the request, with the placeholders of url. Their values are escaped as the header Content-Type asks for, which is
	// application/json where it is not given: as in a JSON string, as in a form, or not at all.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Body string `json:"body,omitempty"`
	// secretRef names a Secret of the run's namespace with credentials: bearerToken, or username and password; ca.crt; tls.crt
	// and tls.key.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// timeout of one request with its answer, at most 60s. Default 10s.
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('60s') && duration(self) > duration('0s')",message="timeout must be above 0s and at most 60s"
	Timeout Duration `json:"timeout,omitempty"`
	// judgedStatuses are judged beside those from 200 to 299, e.g. 404 or 503.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=300
	// +kubebuilder:validation:items:Maximum=599
	JudgedStatuses []int32 `json:"judgedStatuses,omitempty"`
	// value is a CEL expression that reads a number out of the answer, e.g. json.errors.rate. It may use json (the answer's body,
	// decoded), body (a string), status (an int), headers (by name in lower case) and args. null is an answer without a value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
	// min is the least good value, a decimal number as text.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$`
	Min *string `json:"min,omitempty"`
	// max is the greatest good value, a decimal number as text.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$`
	Max *string `json:"max,omitempty"`
	// condition is a CEL expression that is true where the answer is good, e.g. status == 200 && json.state == "ok". It may use
	// what value may, and value itself where it is set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Condition string `json:"condition,omitempty"`

	Measuring `json:",inline"`
}

// Measuring says how often something is measured, and how many failures are borne.
type Measuring struct {
	// interval between measurements, at least 1s. Default 30s.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="interval must be at least 1s"
	Interval Duration `json:"interval,omitempty"`
	// count of good measurements after which the metric has passed for good and is measured no more. Default 0: it is
	// measured as long as the run lasts.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Count int32 `json:"count,omitempty"`
	// failureLimit is how many failed measurements are borne; one more fails the metric. Default 0. Unset it has no
	// say where consecutiveFailureLimit is set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	FailureLimit *int32 `json:"failureLimit,omitempty"`
	// consecutiveFailureLimit fails the metric at this many failed measurements in a row. Default 0: off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	ConsecutiveFailureLimit int32 `json:"consecutiveFailureLimit,omitempty"`
	// providerErrorLimit is how many provider errors in a row are borne before onProviderError applies. Default 4.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ProviderErrorLimit *int32 `json:"providerErrorLimit,omitempty"`
}

// WebHeader is a header of a request.
//
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretKeyRef)",message="exactly one of value and secretKeyRef must be set"
// +kubebuilder:validation:XValidation:rule="!(self.name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'trailer', 'te', 'accept-encoding'])",message="this header is set by the transport and cannot be given"
type WebHeader struct {
	// name of the header.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	Name string `json:"name"`
	// value of the header, with the placeholders of url.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Value *string `json:"value,omitempty"`
	// secretKeyRef names a Secret of the run's namespace, and the key in it that holds the value.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
}

// SecretKeyReference names a key of a Secret of the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// key in its data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// PassCount is how many good measurements let a metric pass for good; 0 where it is measured as long as the run lasts.
func (m *Metric) PassCount() int32 {
	switch {
	case m.Web != nil:
		return m.Web.Count
	case m.Job != nil:
		return max(1, m.Job.Count)
	}
	return m.Threshold.Count
}
