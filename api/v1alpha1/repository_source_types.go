package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GitRef is what is followed: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.branch), has(self.tag), has(self.semver), has(self.commit)].filter(x, x).size() == 1",message="ref must have exactly one of branch, tag, semver and commit"
type GitRef struct {
	// branch that is followed and, with write, pushed to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][-A-Za-z0-9._/]*$`
	Branch string `json:"branch,omitempty"`
	// tag that is followed. A tag that is moved is followed too, and told of in an Event.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][-A-Za-z0-9._/+]*$`
	Tag string `json:"tag,omitempty"`
	// semver is a range of semantic versions, for example "1.2.x", "~1.4" or ">=2.0.0 <3.0.0": the highest tag in it is
	// followed. Tags may begin with "v"; those that are no version are passed over. Pre-releases count only where the range
	// names one (">=1.0.0-0"). If the highest version becomes lower, that is told of in an Event.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	SemVer string `json:"semver,omitempty"`
	// commit is the full name of one commit. The server must give out commits by name, or have it among the newest of its
	// default branch.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	// +kubebuilder:validation:MaxLength=40
	Commit string `json:"commit,omitempty"`
}

// VerifyMode is which commits must be signed.
//
// +kubebuilder:validation:Enum=Off;Head;Range
type VerifyMode string

// The modes.
const (
	VerifyOff   VerifyMode = "Off"
	VerifyHead  VerifyMode = "Head"
	VerifyRange VerifyMode = "Range"
)

// RepositoryVerify says which commits must be signed, and by whom.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Off') || has(self.trustedSigners)",message="verify needs trustedSigners unless mode is Off"
type RepositoryVerify struct {
	// mode is Off, Head (the commit that is followed must be signed) or Range (so must every commit since the last one that was
	// in force: those of the branch itself, and merges, whose signer answers for what is merged). Default Range.
	// +optional
	// +kubebuilder:default=Range
	Mode VerifyMode `json:"mode,omitempty"`
	// trustedSigners names a Secret whose keys authors, approvers and bots hold lists of signers in the form of OpenSSH's
	// allowed_signers, and whose keys that end in .asc hold OpenPGP public keys.
	// +optional
	TrustedSigners *LocalReference `json:"trustedSigners,omitempty"`
}

// RepositoryWebhook lets a Git server tell of a push.
type RepositoryWebhook struct {
	// secretRef names a Secret whose key token the server signs its requests with.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// ResolvedRef says what a ref stood for.
type ResolvedRef struct {
	// name of the branch, tag or commit: refs/heads/main, refs/tags/v1.2.3.
	// +optional
	// +kubebuilder:validation:MaxLength=300
	Name string `json:"name,omitempty"`
	// version that the tag stands for, where ref.semver is used.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	Version string `json:"version,omitempty"`
}

// VerifiedCommit says which commit's signature was accepted, and whose it was.
type VerifiedCommit struct {
	// commit that was verified.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Commit string `json:"commit,omitempty"`
	// mode in which it was.
	// +optional
	Mode VerifyMode `json:"mode,omitempty"`
	// signer is the mail address of the commit's signer.
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Signer string `json:"signer,omitempty"`
	// key is the fingerprint of the signer's key.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Key string `json:"key,omitempty"`
	// commits is how many commits were verified on the way to it.
	// +optional
	Commits int32 `json:"commits,omitempty"`
	// at is when.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}
