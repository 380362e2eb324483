package lint

import (
	"github.com/belay-delivery/belay/gitops/git"
)

// checkRepositories reads refs as the controller will: the schema cannot read a range of versions.
func (b *bundle) checkRepositories() []Finding {
	var out []Finding
	for _, r := range b.repositories {
		f := r.v.Spec.Ref
		if f.SemVer == "" {
			continue
		}
		if err := (git.Ref{SemVer: f.SemVer}).Validate(); err != nil {
			out = append(out, r.errorf("spec.ref.semver", `ranges look like "1.2.x", "~1.4" or ">=2.0.0 <3.0.0"`, "%s", err))
		}
	}
	return out
}
