package v1alpha1

// Revert says where in Git this workload is declared.
//
// +kubebuilder:validation:XValidation:rule="has(self.path) || has(self.values)",message="path, values or both must be set: what in the repository says what runs"
type Revert struct {
	// repository is a Repository of this namespace with spec.write set.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Repository string `json:"repository"`
	// path of the folder in the repository that renders to this Rollout: plain YAML or kustomize. Unset: the repository holds
	// only values, and something else makes the Rollout of them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path must be relative to the repository's root and must not contain '..'"
	Path string `json:"path,omitempty"`
	// values are the places in files which Belay does not render, such as values of a Helm chart, that parts of the pod template
	// come from. A revert sets them back, and nothing else in these files. With path, they are set back together with what the
	// folder renders to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Values []RevertValue `json:"values,omitempty"`
	// strategy is how the revert gets onto the branch: Push, PullRequest or PushThenPullRequest. Unset: as the
	// Repository's write.strategy says.
	// +optional
	Strategy RevertStrategy `json:"strategy,omitempty"`
}

// RevertValue is a place in a file that a part of the pod template comes from, literally.
//
// +kubebuilder:validation:XValidation:rule="has(self.container) != has(self.field)",message="exactly one of container and field must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.part) || has(self.container)",message="part goes with container: it is a part of its image"
type RevertValue struct {
	// file in the repository, such as charts/checkout/values-prod.yaml.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="file must be relative to the repository's root and must not contain '..'"
	File string `json:"file"`
	// path of the value in the file: keys with dots between them, such as image.tag. An item of a list is [0] or [name=proxy], and a
	// key with other characters ["app.kubernetes.io/name"]; in quotes, a backslash stands before a quote or backslash.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^\.?([A-Za-z0-9_-]+|\["([^"\\\n]|\\["\\])+"\])(\.[A-Za-z0-9_-]+|\[[0-9]{1,4}\]|\[[A-Za-z0-9_-]+=([^"\[\]]+|"([^"\\\n]|\\["\\])+")\]|\["([^"\\\n]|\\["\\])+"\])*$`
	Path string `json:"path"`
	// container whose image it is, or init container. Exactly one of container and field must be set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Container string `json:"container,omitempty"`
	// part of the container's image: Image is all of it, Name what stands before the tag, Tag and Digest (sha256:…) what follows.
	// Unset: Image.
	// +optional
	Part ImagePart `json:"part,omitempty"`
	// field of the pod template, written as path is: metadata.labels.version, or
	// spec.containers[name=app].env[name=LEVEL].value. It must be text, a number or a boolean.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^\.?(metadata|spec)(\.[A-Za-z0-9_-]+|\[[0-9]{1,4}\]|\[[A-Za-z0-9_-]+=([^"\[\]]+|"([^"\\\n]|\\["\\])+")\]|\["([^"\\\n]|\\["\\])+"\])+$`
	Field string `json:"field,omitempty"`
}

// ImagePart is a part of the name of an image.
// +kubebuilder:validation:Enum=Image;Name;Tag;Digest
type ImagePart string

// Values of ImagePart.
const (
	ImageWhole  ImagePart = "Image"
	ImageName   ImagePart = "Name"
	ImageTag    ImagePart = "Tag"
	ImageDigest ImagePart = "Digest"
)
