package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// JobCheck runs a Kubernetes Job in the namespace of the run, and judges how it ends: succeeded is good, failed is bad. A Job
// that cannot be made, none of whose pods starts (an image that cannot be pulled, no room), or that somebody deletes is an error
// of the provider, which counts neither for nor against; the next try is a new Job. Jobs are deleted with the run, one that runs
// when the run ends at once, and others an hour after they have ended.
//
// +kubebuilder:validation:XValidation:rule="duration(self.startDeadline) < duration(self.deadline)",message="job.startDeadline must be shorter than job.deadline"
type JobCheck struct {
	// template of the pod, as in a Deployment: metadata and spec. Its pods run with the ServiceAccount that it names, or the namespace's default one. restartPolicy is
	// Never (default) or OnFailure. command, args and the values of env may use {{args.name}}, {{namespace}}, {{canary.service}},
	// {{stable.service}}, {{canary.revision}} and {{stable.revision}}.
	// +required
	// +kubebuilder:pruning:PreserveUnknownFields
	Template runtime.RawExtension `json:"template"`
	// deadline of a Job, from 10s to 6h: one that is still running then has failed. Default 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('6h')",message="deadline must be from 10s to 6h"
	Deadline Duration `json:"deadline,omitempty"`
	// startDeadline is how long a container of the Job may take to start, at least 5s. Default 2m.
	// +optional
	// +kubebuilder:default="2m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="startDeadline must be at least 5s"
	StartDeadline Duration `json:"startDeadline,omitempty"`
	// backoffLimit is how many failed pods of one Job are borne before it has failed. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	BackoffLimit int32 `json:"backoffLimit,omitempty"`
	// count of Jobs that must succeed, one after the other; the metric has then passed for good. Default 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Count int32 `json:"count,omitempty"`
	// interval between the end of a Job and the next one, where there is one, at least 1s. Default 30s.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="interval must be at least 1s"
	Interval Duration `json:"interval,omitempty"`
	// failureLimit is how many failed Jobs are borne; one more fails the metric. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	FailureLimit int32 `json:"failureLimit,omitempty"`
	// providerErrorLimit is how many provider errors in a row are borne before onProviderError applies. Default 4.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ProviderErrorLimit *int32 `json:"providerErrorLimit,omitempty"`
}

// JobStatus is the Job that is waited for.
type JobStatus struct {
	// name of the Job.
	Name string `json:"name"`
	// madeAt is when it was made, or first seen.
	MadeAt metav1.Time `json:"madeAt"`
	// startedAt is when a container of it was first seen to have started.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
}

// LabelAnalysisRun is on every Job of an AnalysisRun, and on its pods: the UID of the run.
const LabelAnalysisRun = "belay.dev/analysis-run"
