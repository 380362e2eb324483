package lint

import (
	"strings"
	"testing"
)

// TestG39_RangesOfVersionsAreRead: the schema takes any text, the controller does not.
func TestG39_RangesOfVersionsAreRead(t *testing.T) {
	const file = "apiVersion: belay.dev/v1alpha1\nkind: Repository\nmetadata: {name: fleet}\nspec:\n  url: https://git/x.git\n  ref: {semver: %}\n"
	for version, want := range map[string]string{
		`"1.x"`: "", `">=1.0.0-0 <2"`: "", `newest`: "f.yaml:6: Repository/fleet: spec.ref.semver: ref.semver \"newest\" is not a range of versions",
	} {
		got := lintText(t, strings.Replace(file, "%", version, 1))
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}
