package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AnalysisTemplate names metrics and the arguments that their queries take.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=at,categories=belay
// +kubebuilder:printcolumn:name="Metrics",type=string,JSONPath=`.spec.metrics[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AnalysisTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec names the metrics.
	// +required
	Spec AnalysisTemplateSpec `json:"spec"`
}

// AnalysisTemplateSpec names metrics and their arguments.
type AnalysisTemplateSpec struct {
	// args that queries may use as {{args.name}}.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Args []Argument `json:"args,omitempty"`
	// metrics are judged together: one that fails fails the run.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Metrics []Metric `json:"metrics"`
}

// Metric is one thing that is measured and judged.
//
// +kubebuilder:validation:XValidation:rule="(has(self.compare) ? 1 : 0) + (has(self.threshold) ? 1 : 0) + (has(self.web) ? 1 : 0) + (has(self.job) ? 1 : 0) == 1",message="exactly one of compare, threshold, web and job must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.job) || !has(self.onNoData) || self.onNoData == 'Wait'",message="onNoData of a job metric is Wait: a Job succeeds or fails"
// +kubebuilder:validation:XValidation:rule="!has(self.compare) || !has(self.onNoData) || self.onNoData == 'Wait'",message="onNoData of a compare metric is Wait: without data nothing is concluded"
type Metric struct {
	// name of the metric.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// compare judges the canary against stable.
	// +optional
	Compare *Compare `json:"compare,omitempty"`
	// threshold judges a scalar query against bounds.
	// +optional
	Threshold Threshold `json:"threshold,omitzero"`
	// web judges the answer of an HTTP server.
	// +optional
	Web *Web `json:"web,omitempty"`
	// job judges how a Kubernetes Job ends.
	// +optional
	Job *JobCheck `json:"job,omitempty"`
	// mode DryRun measures and reports but never decides. Default Enforce.
	// +optional
	// +kubebuilder:default=Enforce
	// +kubebuilder:validation:Enum=Enforce;DryRun
	Mode MetricMode `json:"mode,omitempty"`
	// onNoData says what an answer without a value (empty, or NaN) means. Wait: neither good nor bad, measured again.
	// Pass: counts as passed. Fail: counts as failed. Default Wait.
	// +optional
	// +kubebuilder:default=Wait
	// +kubebuilder:validation:Enum=Wait;Pass;Fail
	OnNoData OnNoData `json:"onNoData,omitempty"`
	// onProviderError says what to do when the provider cannot be asked providerErrorLimit times in a row. Hold: no
	// step forward until it answers again. Pause: pause the attempt. Rollback: fail the attempt. Default Hold.
	// +optional
	// +kubebuilder:default=Hold
	// +kubebuilder:validation:Enum=Hold;Pause;Rollback
	OnProviderError OnProviderError `json:"onProviderError,omitempty"`
}

// Decides says whether a metric has a say: it is no dry run, and no gauge that only advises.
func (m *Metric) Decides() bool {
	return m.Mode != MetricDryRun && (m.Compare == nil || m.Compare.Gauge == nil || m.Compare.Gauge.OnWorse == GaugeHalt)
}

// MetricMode says whether a metric decides.
type MetricMode string

// Values of MetricMode.
const (
	MetricEnforce MetricMode = "Enforce"
	MetricDryRun  MetricMode = "DryRun"
)

// OnNoData says what an answer without a value means.
type OnNoData string

// Values of OnNoData.
const (
	NoDataWait OnNoData = "Wait"
	NoDataPass OnNoData = "Pass"
	NoDataFail OnNoData = "Fail"
)

// OnProviderError says what a provider that cannot be asked means.
type OnProviderError string

// Values of OnProviderError.
const (
	ProviderErrorHold     OnProviderError = "Hold"
	ProviderErrorPause    OnProviderError = "Pause"
	ProviderErrorRollback OnProviderError = "Rollback"
)

// Threshold judges a scalar query against bounds.
//
// +kubebuilder:validation:XValidation:rule="has(self.min) || has(self.max) || has(self.condition)",message="threshold needs min, max or both, or condition"
// +kubebuilder:validation:XValidation:rule="!has(self.condition) || (!has(self.min) && !has(self.max))",message="threshold.condition goes without min and max: it may use value"
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",message="threshold.min must not exceed threshold.max"
type Threshold struct {
	// prometheus asks a Prometheus server.
	// +required
	Prometheus PrometheusQuery `json:"prometheus"`
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
	// condition is a CEL expression that is true where the value is good, e.g. value < 0.01 || value == 1.0. It may use value (a
	// double) and args.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Condition string `json:"condition,omitempty"`
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

// PrometheusQuery is an instant query that gives one number.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || has(self.address)",message="secretRef needs address: credentials are never sent to the default server"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || has(self.address)",message="headers needs address: nothing but the query is sent to the default server"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || has(self.secretRef) || !self.headers.exists(h, has(h.secretKey))",message="a header with secretKey needs secretRef, the Secret that has the key"
type PrometheusQuery struct {
	// query in PromQL; it must give a scalar or exactly one series. It may use {{args.name}}, {{namespace}},
	// {{canary.pods}} and {{stable.pods}} (regular expressions that match the pods' names), {{canary.addresses}} and
	// {{stable.addresses}} (the same of their IP addresses), {{canary.revision}}, {{stable.revision}}, {{canary.service}} and
	// {{stable.service}}.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Query string `json:"query"`
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

// AnalysisTemplateList is a list of AnalysisTemplates.
//
// +kubebuilder:object:root=true
type AnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AnalysisTemplate `json:"items"`
}

// AnalysisRun is the evidence of one attempt, or of one step of it. It can also be created on its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ar,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.verdict`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AnalysisRun struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what is measured.
	// +required
	Spec AnalysisRunSpec `json:"spec"`
	// status is what was measured.
	// +optional
	Status AnalysisRunStatus `json:"status,omitempty"`
}

// AnalysisRunSpec is what is measured: the templates' metrics as they were when the run began.
//
// +kubebuilder:validation:XValidation:rule="self.metrics == oldSelf.metrics",message="metrics cannot be changed: make a new AnalysisRun instead"
// +kubebuilder:validation:XValidation:rule="has(self.evidence) == has(oldSelf.evidence) && (!has(self.evidence) || self.evidence == oldSelf.evidence)",message="evidence cannot be changed: make a new AnalysisRun instead"
type AnalysisRunSpec struct {
	// args that the metrics' queries use, with their values.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Args []Argument `json:"args,omitempty"`
	// metrics that are measured.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Metrics []Metric `json:"metrics"`
	// evidence says how sure compare metrics must be. Default: a false abort rate of 0.01 and a harm budget of 0.005.
	// +optional
	Evidence *Evidence `json:"evidence,omitempty"`
	// arms tell which pods are compared; unset on a run of one's own.
	// +optional
	Arms *Arms `json:"arms,omitempty"`
	// steps whose traffic was confirmed, in order: compare metrics prove each of them anew. The last one is the current one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Steps []RunStep `json:"steps,omitempty"`
	// state Stopped ends the measuring for good; what was not decided then stays undecided. Default Running.
	// +optional
	// +kubebuilder:default=Running
	// +kubebuilder:validation:Enum=Running;Stopped
	State RunState `json:"state,omitempty"`
}

// RunState says whether a run measures.
type RunState string

// Values of RunState.
const (
	RunRunning RunState = "Running"
	RunStopped RunState = "Stopped"
)

// Arms tell the two revisions apart.
type Arms struct {
	// rollout whose pods are meant.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Rollout string `json:"rollout"`
	// canaryRevision is the value of the pods' belay.dev/revision label.
	// +required
	// +kubebuilder:validation:MaxLength=63
	CanaryRevision string `json:"canaryRevision"`
	// stableRevision is the value of the pods' belay.dev/revision label.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	StableRevision string `json:"stableRevision,omitempty"`
	// canaryService is the Service of the canary.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	CanaryService string `json:"canaryService,omitempty"`
	// stableService is the Service of the stable revision.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	StableService string `json:"stableService,omitempty"`
}

// RunVerdict is what a run, or one metric, says so far.
type RunVerdict string

// The verdicts. Pending speaks neither for nor against.
const (
	// VerdictPending: too little was measured.
	VerdictPending RunVerdict = "Pending"
	// VerdictPass: measured, and within bounds.
	VerdictPass RunVerdict = "Pass"
	// VerdictFail: the limit of failed measurements was passed. Final.
	VerdictFail RunVerdict = "Fail"
	// VerdictHold: the provider cannot be asked; no step forward.
	VerdictHold RunVerdict = "Hold"
	// VerdictPause: the provider cannot be asked, and onProviderError is Pause.
	VerdictPause RunVerdict = "Pause"
)

// AnalysisRunStatus is what was measured.
type AnalysisRunStatus struct {
	// conditions are Ready (the provider answers), Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// verdict over all metrics that are not dry runs: the worst of theirs.
	// +optional
	Verdict RunVerdict `json:"verdict,omitempty"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// startedAt is when the run was first looked at.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// finishedAt is when the run ended: failed, all metrics that decide passed for good, or stopped.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// pods that compare metrics count, also those that are gone: their samples are asked for after a restart of the controller,
	// too. The first 128 of each revision.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Pods []RunPod `json:"pods,omitempty"`
	// traffic of the stable revision before the run began; unset where no compare metric of errors saw any.
	// +optional
	Traffic *ObservedTraffic `json:"traffic,omitempty"`
	// metrics are in the order of the spec.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Metrics []MetricStatus `json:"metrics,omitempty"`
}

// MetricStatus is what was measured of one metric.
type MetricStatus struct {
	// name of the metric.
	Name string `json:"name"`
	// mode of the metric, as in the spec.
	// +optional
	Mode MetricMode `json:"mode,omitempty"`
	// verdict of the metric.
	Verdict RunVerdict `json:"verdict"`
	// message in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// measured counts the measurements that gave a value or were judged by onNoData.
	// +optional
	Measured int32 `json:"measured,omitempty"`
	// passed counts the good ones.
	// +optional
	Passed int32 `json:"passed,omitempty"`
	// failed counts the bad ones.
	// +optional
	Failed int32 `json:"failed,omitempty"`
	// noData counts answers without a value that were left out.
	// +optional
	NoData int32 `json:"noData,omitempty"`
	// providerErrors counts the times the provider could not be asked.
	// +optional
	ProviderErrors int32 `json:"providerErrors,omitempty"`
	// consecutiveFailed counts the bad ones since the last good one.
	// +optional
	ConsecutiveFailed int32 `json:"consecutiveFailed,omitempty"`
	// consecutiveErrors counts provider errors since the last answer.
	// +optional
	ConsecutiveErrors int32 `json:"consecutiveErrors,omitempty"`
	// lastPassedAt is the second in which the last good measurement was taken: a step needs one that was taken at this
	// weight.
	// +optional
	LastPassedAt *metav1.Time `json:"lastPassedAt,omitempty"`
	// nextAt is when the next measurement is due; unset when the metric is measured no more.
	// +optional
	NextAt *metav1.Time `json:"nextAt,omitempty"`
	// job is the Job of a job metric that is waited for.
	// +optional
	Job *JobStatus `json:"job,omitempty"`
	// comparison is what is known of a compare metric. It is written when the verdict changes, and at most once a minute.
	// +optional
	Comparison *Comparison `json:"comparison,omitempty"`
	// history is the course of a compare metric: points a minute apart, and further apart the longer the run lasts, besides
	// those at which its state changed. `kubectl belay explain` draws it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=60
	History []ComparisonPoint `json:"history,omitempty"`
	// recent holds the last measurements, newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Recent []Measurement `json:"recent,omitempty"`
}

// Measurement is one answer.
type Measurement struct {
	// at is when it was taken.
	At metav1.Time `json:"at"`
	// value as text; empty where there was none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Value string `json:"value,omitempty"`
	// result is Passed, Failed, NoData or Error.
	Result string `json:"result"`
	// message where the provider could not be asked, or where no bound of a value decides.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// AnalysisRunList is a list of AnalysisRuns.
//
// +kubebuilder:object:root=true
type AnalysisRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AnalysisRun `json:"items"`
}
