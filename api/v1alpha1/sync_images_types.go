package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SyncImages says what is asked of the images of pods.
type SyncImages struct {
	// requireDigest Deny refuses a bundle with an image that is not named by digest (name@sha256:…): a tag can be moved
	// after it was approved. Default Off.
	// +optional
	// +kubebuilder:default=Off
	RequireDigest CheckMode `json:"requireDigest,omitempty"`
	// signatures says which images must be signed, and by which keys. Unset: none.
	// +optional
	Signatures *ImageSignatures `json:"signatures,omitempty"`
}

// ImageSignatures says which images must be signed with cosign, and by which keys. It is checked before anything is applied,
// of every image of the bundle, and asks the registry once per digest and key. An image that must be signed must be named
// by digest.
type ImageSignatures struct {
	// mode Deny changes nothing where a signature is missing, Warn only says so, Off does not look. Default Deny.
	// +optional
	// +kubebuilder:default=Deny
	Mode CheckMode `json:"mode,omitempty"`
	// rules are asked in their order: the first that names an image decides. An image that none names is refused.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Rules []ImageRule `json:"rules"`
	// pullSecrets of this namespace hold credentials for registries, as imagePullSecrets do (.dockerconfigjson), and ca.crt for
	// a private CA. Unset: registries are asked without.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	PullSecrets []LocalReference `json:"pullSecrets,omitempty"`
}

// ImageRule says by which keys images must be signed.
//
// +kubebuilder:validation:XValidation:rule="has(self.keys) != has(self.unsigned)",message="give either keys, or unsigned: Allowed"
// +kubebuilder:validation:XValidation:rule="!has(self.signedAs) || has(self.keys)",message="signedAs goes with keys"
type ImageRule struct {
	// images are patterns of repositories with their registry and without tag, as in ghcr.io/shop/* or docker.io/library/nginx:
	// * stands for anything but a slash, ** for anything.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^(\*\*|localhost/[a-z0-9*._/-]+|[a-z0-9*-]*[.:*][a-z0-9*.:-]*/[a-z0-9*._/-]+)$`
	Images []string `json:"images"`
	// keys names a Secret of this namespace with public keys (PEM: ECDSA P-256, RSA, Ed25519) in entries that end in .pub. A
	// signature by any of them is enough.
	// +optional
	Keys *LocalReference `json:"keys,omitempty"`
	// signedAs are patterns of the names that images may have been signed under, where they were copied with their signatures.
	// Unset: their own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^(\*\*|localhost/[a-z0-9*._/-]+|[a-z0-9*-]*[.:*][a-z0-9*.:-]*/[a-z0-9*._/-]+)$`
	SignedAs []string `json:"signedAs,omitempty"`
	// unsigned Allowed lets these images pass without a signature.
	// +optional
	Unsigned UnsignedImages `json:"unsigned,omitempty"`
}

// UnsignedImages says what follows where there is no signature.
//
// +kubebuilder:validation:Enum=Allowed
type UnsignedImages string

// UnsignedAllowed is the value of UnsignedImages.
const UnsignedAllowed UnsignedImages = "Allowed"

// SignedImage is an image whose signature was verified.
type SignedImage struct {
	// image by digest.
	// +required
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// key is the fingerprint of the key: SHA256: and the base64 of the hash of its PKIX form.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Key string `json:"key"`
	// signedAs is the image that the signature names; empty where it names none.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	SignedAs string `json:"signedAs,omitempty"`
	// at is when it was verified.
	// +required
	At metav1.Time `json:"at"`
}
