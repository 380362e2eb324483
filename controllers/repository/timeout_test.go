package repository

import (
	"testing"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// TestTimeoutIsBounded for what was stored before there was a bound, too.
func TestTimeoutIsBounded(t *testing.T) {
	for text, want := range map[v1alpha1.Duration]time.Duration{"": time.Minute, "0s": time.Minute, "90s": 90 * time.Second, "10m": 10 * time.Minute, "99999h": 10 * time.Minute} {
		repo := &v1alpha1.Repository{}
		repo.Spec.Timeout = text
		if got := Timeout(repo); got != want {
			t.Errorf("timeout %q is %s, want %s", text, got, want)
		}
	}
}
