package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterAnalysisTemplate is an AnalysisTemplate that every namespace may refer to. What it names beside queries (Secrets,
// and the ServiceAccount of a Job) is looked for in the namespace of the run.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=cat,categories=belay
// +kubebuilder:printcolumn:name="Metrics",type=string,JSONPath=`.spec.metrics[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterAnalysisTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec names the metrics.
	// +required
	Spec AnalysisTemplateSpec `json:"spec"`
}

// ClusterAnalysisTemplateList is a list of ClusterAnalysisTemplates.
//
// +kubebuilder:object:root=true
type ClusterAnalysisTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterAnalysisTemplate `json:"items"`
}

// TemplateReference names a template of metrics.
type TemplateReference struct {
	// kind is AnalysisTemplate, of this namespace, or ClusterAnalysisTemplate. Default AnalysisTemplate.
	// +optional
	// +kubebuilder:default=AnalysisTemplate
	Kind TemplateKind `json:"kind,omitempty"`
	// name of the template.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// TemplateKind is a kind of template.
// +kubebuilder:validation:Enum=AnalysisTemplate;ClusterAnalysisTemplate
type TemplateKind string

// Values of TemplateKind.
const (
	KindAnalysisTemplate        TemplateKind = "AnalysisTemplate"
	KindClusterAnalysisTemplate TemplateKind = "ClusterAnalysisTemplate"
)

// Or is the kind, or AnalysisTemplate where it is unset.
func (k TemplateKind) Or() TemplateKind {
	if k == "" {
		return KindAnalysisTemplate
	}
	return k
}

// String names the template for people.
func (r TemplateReference) String() string { return string(r.Kind.Or()) + " " + r.Name }

// AsTemplate is the template in the form of a namespaced one, of its own kind.
func (t *ClusterAnalysisTemplate) AsTemplate() AnalysisTemplate {
	return AnalysisTemplate{TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: string(KindClusterAnalysisTemplate)},
		ObjectMeta: t.ObjectMeta, Spec: t.Spec}
}

// TemplateKind is the kind of a template: AnalysisTemplate, unless its type says otherwise.
func (t *AnalysisTemplate) TemplateKind() TemplateKind { return TemplateKind(t.Kind).Or() }
