package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Evidence says how sure compare metrics must be.
type Evidence struct {
	// falseAbortRate is the greatest probability that an attempt whose revision is within the margins is ever halted by compare
	// metrics, over all of them and all looks: from 0.0001 to 0.2, a decimal number as text. Attempts with analyses of their own
	// in steps share it out among their runs. Less needs more requests to halt what is bad. Default 0.01.
	// +optional
	// +kubebuilder:default="0.01"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^0\.[0-9]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^0[.][0-9]+$') || double(self) >= 0.0001 && double(self) <= 0.2",message="falseAbortRate must be from 0.0001 to 0.2"
	FalseAbortRate string `json:"falseAbortRate,omitempty"`
	// harmBudget is the share of all requests that a bad revision may harm at the next weight: an excess of harmBudget over that
	// weight is ruled out before each step. From 0.0005 to 0.2, a decimal number as text. Less takes longer. Default 0.005.
	// +optional
	// +kubebuilder:default="0.005"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^0\.[0-9]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^0[.][0-9]+$') || double(self) >= 0.0005 && double(self) <= 0.2",message="harmBudget must be from 0.0005 to 0.2"
	HarmBudget string `json:"harmBudget,omitempty"`
}

// CompareGauge names a quantity that each pod has at all times, such as memory in use or the length of a queue.
type CompareGauge struct {
	// series selects it, e.g. container_memory_working_set_bytes{container="app"}. The series of one pod are added up.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Series string `json:"series"`
	// margin that is borne. Default: ratio 1.25.
	// +optional
	Margin *GaugeMargin `json:"margin,omitempty"`
	// onWorse says what a canary means that has more than the margin. Advise: it is reported, and decides nothing, since a new
	// revision may need more for good reasons. Halt: the attempt is taken back. Default Advise.
	// +optional
	// +kubebuilder:default=Advise
	// +kubebuilder:validation:Enum=Advise;Halt
	OnWorse GaugeConsequence `json:"onWorse,omitempty"`
}

// GaugeConsequence says what a canary means whose gauge is worse than the margin.
type GaugeConsequence string

// Values of GaugeConsequence.
const (
	GaugeAdvise GaugeConsequence = "Advise"
	GaugeHalt   GaugeConsequence = "Halt"
)

// GaugeMargin is how much more the canary's pods may have: ratio times the median of stable's pods, plus absolute.
type GaugeMargin struct {
	// ratio from 1 to 100, a decimal number as text. Default 1.25.
	// +optional
	// +kubebuilder:default="1.25"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?(\.[0-9]+)?|100)$`
	Ratio string `json:"ratio,omitempty"`
	// absolute is added, in the unit of the gauge, a decimal number of at least 0 as text. A gauge that is often 0, such as the
	// length of a queue, needs it. Default 0.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?([eE][0-9]{1,2})?$`
	Absolute string `json:"absolute,omitempty"`
}

// CompareRestarts compares how often containers restart, by what the API server knows of the pods. It needs no metrics.
type CompareRestarts struct {
	// reason OOMKilled counts only restarts of containers that were killed because they ran out of memory; Any counts all.
	// Default Any.
	// +optional
	// +kubebuilder:default=Any
	// +kubebuilder:validation:Enum=Any;OOMKilled
	Reason RestartReason `json:"reason,omitempty"`
	// margin that is borne. Default: ratio 2 and perHour 0.25.
	// +optional
	Margin *RestartMargin `json:"margin,omitempty"`
}

// RestartReason says which restarts count.
type RestartReason string

// Values of RestartReason.
const (
	RestartAny       RestartReason = "Any"
	RestartOOMKilled RestartReason = "OOMKilled"
)

// RestartMargin is how much more often the canary's pods may restart: ratio times stable's rate, plus perHour.
type RestartMargin struct {
	// ratio of the rates, from 1 to 100, a decimal number as text. Default 2.
	// +optional
	// +kubebuilder:default="2"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?(\.[0-9]+)?|100)$`
	Ratio string `json:"ratio,omitempty"`
	// perHour is added: restarts of each pod in an hour, from 0.01 to below 100, a decimal number as text. Default 0.25.
	// +optional
	// +kubebuilder:default="0.25"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^[0-9]{1,2}(\.[0-9]+)?$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,2}([.][0-9]+)?$') || double(self) >= 0.01",message="perHour must be at least 0.01"
	PerHour string `json:"perHour,omitempty"`
}

// RunPod is a pod that was part of what a run compares. Its evidence counts after it has gone.
type RunPod struct {
	// name of the pod.
	Name string `json:"name"`
	// arm that it belongs to: Canary or Stable.
	Arm RunArm `json:"arm"`
	// createdAt is when it was made.
	CreatedAt metav1.Time `json:"createdAt"`
	// goneAt is when it was first missed.
	// +optional
	GoneAt *metav1.Time `json:"goneAt,omitempty"`
	// restartsBefore are the restarts of its containers before the run.
	// +optional
	RestartsBefore int32 `json:"restartsBefore,omitempty"`
	// restarts of its containers since, as they were seen, oldest first; the first 16.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Restarts []PodRestart `json:"restarts,omitempty"`
}

// RunArm is one of the revisions that are compared.
type RunArm string

// Values of RunArm.
const (
	ArmCanary RunArm = "Canary"
	ArmStable RunArm = "Stable"
)

// PodRestart is a restart of a container.
type PodRestart struct {
	// at is when it was seen.
	At metav1.Time `json:"at"`
	// reason why the container had ended, e.g. OOMKilled, as the kubelet says.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
}

// ComparisonState is what may be done by a compare metric.
type ComparisonState string

// Values of ComparisonState.
const (
	// StateHalt: worse than the margin, as good as certain.
	StateHalt ComparisonState = "Halt"
	// StateStep: what must be ruled out at the next weight is ruled out.
	StateStep ComparisonState = "Step"
	// StateWatch: neither is proven yet.
	StateWatch ComparisonState = "Watch"
	// StateHold: stable itself is broken; nothing is concluded.
	StateHold ComparisonState = "Hold"
	// StateInconclusive: the run ended before either was proven.
	StateInconclusive ComparisonState = "Inconclusive"
)

// ComparisonPoint is what was known of a compare metric at a time.
type ComparisonPoint struct {
	// at is the end of the last block of samples.
	At metav1.Time `json:"at"`
	// state then.
	State ComparisonState `json:"state"`
	// weight of the canary, in units of 1/totalWeight of the run's steps; unset before the first step.
	// +optional
	Weight int32 `json:"weight,omitempty"`
	// counts are the bad requests of all of the canary's and of stable's, since the run began: bad/canary bad/stable.
	// +optional
	// +kubebuilder:validation:MaxLength=96
	Counts string `json:"counts,omitempty"`
	// harm and safety are the evidence then.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Harm string `json:"harm,omitempty"`
	// safety since the step began.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Safety string `json:"safety,omitempty"`
	// ratio of canary to stable: the most likely one, and those between which it lies.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Ratio string `json:"ratio,omitempty"`
}
