package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Repository is a branch of a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=gitrepo,categories=belay
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.status.commit`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Repository struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says where the repository is and how it is read and written.
	// +required
	Spec RepositorySpec `json:"spec"`
	// status says what its branch points to.
	// +optional
	Status RepositoryStatus `json:"status,omitempty"`
}

// RepositorySpec says where a repository is and how it is read and written.
//
// +kubebuilder:validation:XValidation:rule="!has(self.write) || !has(self.write.strategy) || self.write.strategy != 'PullRequest' || (has(self.write.forge) && has(self.write.forge.type)) || self.url.matches('^(https?|ssh)://([^/@]*@)?[^/]*(github|gitlab|gitea|forgejo|codeberg)')",message="write.strategy PullRequest needs write.forge.type: the host of url does not say which forge it is"
// +kubebuilder:validation:XValidation:rule="!has(self.write) || !has(self.write.strategy) || self.write.strategy != 'PullRequest' || (has(self.write.forge) && has(self.write.forge.secretRef)) || (self.url.matches('^https?://') && has(self.write.secretRef))",message="write.strategy PullRequest needs a token: write.forge.secretRef, or write.secretRef where url is http or https"
// +kubebuilder:validation:XValidation:rule="!has(self.write) || has(self.ref.branch)",message="write needs ref.branch: only a branch can be written to"
type RepositorySpec struct {
	// url of the repository: https://, http://, ssh:// or file://. Credentials do not belong here but in secretRef.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|ssh|file)://.+')",message="url must begin with https://, http://, ssh:// or file://"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="url must not hold credentials: put them into the Secret of secretRef"
	URL string `json:"url"`
	// ref is what is followed.
	// +required
	Ref GitRef `json:"ref"`
	// interval at which the ref is looked at, at least 1s. Default 1m.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="interval must be at least 1s"
	Interval Duration `json:"interval,omitempty"`
	// timeout of one Git operation, at most 10m: what is stored and longer counts as 10m. Default 60s.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('10m')",message="timeout must be at most 10m"
	Timeout Duration `json:"timeout,omitempty"`
	// secretRef names a Secret with the credentials for reading: username and password; bearerToken; or identity and
	// known_hosts for ssh; ca.crt for a private CA.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// verify says which commits must be signed, and by whom. A commit that is refused changes nothing: the last one that was
	// accepted stays in force. Unset: none.
	// +optional
	Verify *RepositoryVerify `json:"verify,omitempty"`
	// webhook lets the Git server tell of a push, so that it is noticed at once. Unset: it is noticed at the next interval.
	// +optional
	Webhook *RepositoryWebhook `json:"webhook,omitempty"`
	// write allows reverts to be committed. Unset: the repository is never written to.
	// +optional
	Write *RepositoryWrite `json:"write,omitempty"`
}

// RepositoryWrite allows reverts to be committed.
type RepositoryWrite struct {
	// secretRef names a Secret with the credentials for pushing, of the same form as for reading but its own.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// author of the commits.
	// +optional
	// +kubebuilder:default={name: "Belay", email: "belay@localhost"}
	Author GitAuthor `json:"author,omitzero"`
	// strategy is how a revert gets onto the branch: Push commits to it; PullRequest opens a pull request from the branch
	// rollback/<id> and waits for people; PushThenPullRequest does the latter where the server refuses the former, or
	// where a revert would touch more than its workload. Default PushThenPullRequest.
	// +optional
	// +kubebuilder:default=PushThenPullRequest
	Strategy RevertStrategy `json:"strategy,omitempty"`
	// forge is where pull requests are opened. Unset: told from the host name of url.
	// +optional
	Forge *Forge `json:"forge,omitempty"`
	// signingKeyRef names a Secret with the private key that commits are signed with: key (OpenSSH, PEM or armored OpenPGP)
	// and, where it is encrypted, passphrase. Unset: not signed.
	// +optional
	SigningKeyRef *LocalReference `json:"signingKeyRef,omitempty"`
	// signOff Enabled ends the message of each commit with "Signed-off-by: " and its author, where contributions need a Developer
	// Certificate of Origin. Default Disabled.
	// +optional
	// +kubebuilder:default=Disabled
	SignOff Switch `json:"signOff,omitempty"`
	// maxRevertsPerHour is how many reverts of one workload are committed to the branch within an hour; the next one waits,
	// in state Suspended. Default 3.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=60
	MaxRevertsPerHour *int32 `json:"maxRevertsPerHour,omitempty"`
}

// GitAuthor is the author of a commit.
type GitAuthor struct {
	// name of the author.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[^<>\n]+$`
	Name string `json:"name"`
	// email of the author.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:Pattern=`^[^<>\s]+@[^<>\s]+$`
	Email string `json:"email"`
}

// RepositoryStatus says what the branch points to.
type RepositoryStatus struct {
	// conditions are Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// commit that is in force: what the ref pointed to when last looked at and, with verify, was accepted.
	// +optional
	Commit string `json:"commit,omitempty"`
	// resolved says which branch, tag or version commit is of.
	// +optional
	Resolved *ResolvedRef `json:"resolved,omitempty"`
	// verified says which commit was accepted last, and whose signature it carries.
	// +optional
	Verified *VerifiedCommit `json:"verified,omitempty"`
	// changedAt is when commit last changed.
	// +optional
	ChangedAt *metav1.Time `json:"changedAt,omitempty"`
	// reconciled is the value of the belay.dev/reconcile annotation that was last acted on.
	// +optional
	Reconciled string `json:"reconciled,omitempty"`
}

// RepositoryList is a list of Repositories.
//
// +kubebuilder:object:root=true
type RepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Repository `json:"items"`
}
