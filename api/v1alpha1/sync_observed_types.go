package v1alpha1

// SyncObserved are objects of the bundle that others keep.
type SyncObserved struct {
	// count of them.
	Count int32 `json:"count"`
	// objects are the first of them by name, at most 32.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Objects []ObservedObject `json:"objects,omitempty"`
}

// ObservedObject is an object that somebody else keeps.
type ObservedObject struct {
	// object as "Deployment.apps shop/web".
	// +kubebuilder:validation:MaxLength=640
	Object string `json:"object"`
	// keeper of it: the tool whose mark it carries, or who wrote it.
	// +kubebuilder:validation:MaxLength=256
	Keeper string `json:"keeper"`
	// fields that taking it over would change, at most 8.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Fields []ObservedField `json:"fields,omitempty"`
	// moreFields is how many it would change beside those.
	// +optional
	MoreFields int32 `json:"moreFields,omitempty"`
	// refused is why the API server would not let it be taken over.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Refused string `json:"refused,omitempty"`
}

// ObservedField is a field that taking an object over would change.
type ObservedField struct {
	// path of the field.
	Path string `json:"path"`
	// declared value. Values of Secrets, and what looks like one, are "(hidden)".
	Declared string `json:"declared"`
	// live value.
	Live string `json:"live"`
}
