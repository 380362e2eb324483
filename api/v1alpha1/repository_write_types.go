package v1alpha1

// RevertStrategy is how a revert gets onto the branch.
// +kubebuilder:validation:Enum=Push;PullRequest;PushThenPullRequest
type RevertStrategy string

// Values of RevertStrategy.
const (
	// StrategyPush commits to the branch, or says why that is not possible.
	StrategyPush RevertStrategy = "Push"
	// StrategyPullRequest never commits to the branch: people merge.
	StrategyPullRequest RevertStrategy = "PullRequest"
	// StrategyPushThenPullRequest commits to the branch, and opens a pull request where the server refuses that.
	StrategyPushThenPullRequest RevertStrategy = "PushThenPullRequest"
)

// ForgeType is a kind of forge.
// +kubebuilder:validation:Enum=GitHub;GitLab;Gitea
type ForgeType string

// Values of ForgeType.
const (
	ForgeGitHub ForgeType = "GitHub"
	ForgeGitLab ForgeType = "GitLab"
	ForgeGitea  ForgeType = "Gitea"
)

// Forge is the server on which pull requests are opened.
//
// +kubebuilder:validation:XValidation:rule="!has(self.apiURL) || has(self.type)",message="apiURL goes with type: say which API is spoken there"
type Forge struct {
	// type of the forge; Gitea is Forgejo too. Unset: told from the host name of url where it says github, gitlab, gitea,
	// forgejo or codeberg.
	// +optional
	Type ForgeType `json:"type,omitempty"`
	// apiURL is the address of its REST API. Unset: https://api.github.com, or on the host of url /api/v3 (GitHub),
	// /api/v4 (GitLab), /api/v1 (Gitea).
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/@]+(/.*)?$')",message="apiURL must begin with https:// or http:// and hold no credentials"
	APIURL string `json:"apiURL,omitempty"`
	// secretRef names a Secret with the API's token in key token, and ca.crt for a private CA. Unset: bearerToken, or
	// password, of write.secretRef.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// PullRequestState is what became of a pull request.
// +kubebuilder:validation:Enum=Open;Merged;Closed
type PullRequestState string

// Values of PullRequestState.
const (
	PullRequestOpen   PullRequestState = "Open"
	PullRequestMerged PullRequestState = "Merged"
	PullRequestClosed PullRequestState = "Closed"
)

// PullRequest is a pull request (GitLab: merge request) that Belay opened.
type PullRequest struct {
	// number on the forge.
	Number int64 `json:"number"`
	// url for people.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`
	// branch that it asks to merge.
	// +kubebuilder:validation:MaxLength=255
	Branch string `json:"branch"`
	// state when last looked at; Closed is without a merge: a person said no.
	State PullRequestState `json:"state"`
}
