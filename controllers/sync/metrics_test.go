package sync

import "testing"

// TestG36_WaitingIsNoFailure: a rate of failures must not rise because people have not approved yet.
func TestG36_WaitingIsNoFailure(t *testing.T) {
	for reason, want := range map[string]string{ReasonWaiting: "waiting", ReasonDenied: "denied", ReasonApplyFailed: "failed", ReasonDependencyCycle: "failed"} {
		if got := resultOf(reason); got != want {
			t.Errorf("%s counts as %s, want %s", reason, got, want)
		}
	}
}
