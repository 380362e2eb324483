package git

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// ErrRefNotFound says that the repository has no such tag, or none in the range, or does not give out the commit.
var ErrRefNotFound = errors.New("ref not found")

// Ref is what is followed; exactly one field is set.
type Ref struct {
	Branch string
	Tag    string
	// SemVer is a range of versions, of which the highest tag is meant.
	SemVer string
	Commit string
}

func (f Ref) String() string {
	switch {
	case f.Tag != "":
		return "tag " + f.Tag
	case f.SemVer != "":
		return fmt.Sprintf("version %q", f.SemVer)
	case f.Commit != "":
		return "commit " + f.Commit
	}
	return "branch " + f.Branch
}

// Validate says what is wrong with a ref.
func (f Ref) Validate() error {
	set := 0
	for _, value := range []string{f.Branch, f.Tag, f.SemVer, f.Commit} {
		if value != "" {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("ref has %d of branch, tag, semver and commit, want 1", set)
	}
	switch {
	case f.SemVer != "":
		if _, err := semver.NewConstraint(f.SemVer); err != nil {
			return fmt.Errorf("ref.semver %q is not a range of versions like \"1.2.x\" or \">=1.0.0 <2.0.0\": %w", f.SemVer, err)
		}
	case f.Commit != "":
		if !plumbing.IsHash(f.Commit) {
			return fmt.Errorf("ref.commit %q is not the full name of a commit: 40 hexadecimal digits", f.Commit)
		}
	case f.Branch != "" && plumbing.NewBranchReferenceName(f.Branch).Validate() != nil,
		f.Tag != "" && plumbing.NewTagReferenceName(f.Tag).Validate() != nil:
		return fmt.Errorf("ref: %s: the name is not valid", f)
	}
	return nil
}

// Resolved is what a Ref points to.
type Resolved struct {
	Commit string
	// Name is refs/heads/…, refs/tags/…, or "" where the ref is a commit.
	Name string
	// Version that the tag of a range stands for.
	Version string
	// want is what to ask the server for: the commit, or the annotated tag that leads to it.
	want plumbing.Hash
}

// Listing is what a server says its branches and tags are.
type Listing struct {
	url     string
	adverts *packp.AdvRefs
}

// List asks the server for its branches and tags.
func (r Remote) List(ctx context.Context) (Listing, error) {
	session, err := r.openUpload(ctx)
	if err != nil {
		return Listing{}, err
	}
	defer session.release()
	adverts, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return Listing{}, r.classify(ctx, "listing branches of", err)
	}
	_ = session.Close()
	return Listing{url: r.URL, adverts: adverts}, nil
}

// Resolve says what a ref points to.
func (l Listing) Resolve(f Ref) (Resolved, error) {
	switch {
	case f.Tag != "":
		return l.named(f, plumbing.NewTagReferenceName(f.Tag).String(), ErrRefNotFound)
	case f.SemVer != "":
		return l.version(f)
	case f.Commit != "":
		return Resolved{Commit: f.Commit, want: plumbing.NewHash(f.Commit)}, nil
	}
	return l.named(f, plumbing.NewBranchReferenceName(f.Branch).String(), ErrBranchNotFound)
}

func (l Listing) named(f Ref, name string, missing error) (Resolved, error) {
	hash, found := l.adverts.References[name]
	if !found {
		return Resolved{}, fmt.Errorf("listing branches of %s: %w: %s", l.url, missing, f)
	}
	commit := hash
	if peeled, annotated := l.adverts.Peeled[name]; annotated {
		commit = peeled
	}
	return Resolved{Commit: commit.String(), Name: name, want: hash}, nil
}

// version takes the highest version of the range; of two tags of one version ("v1.0.0" and "1.0.0", or build metadata) the
// one whose name sorts last, so that every look gives the same.
func (l Listing) version(f Ref) (Resolved, error) {
	constraint, err := semver.NewConstraint(f.SemVer)
	if err != nil {
		return Resolved{}, f.Validate()
	}
	var best *semver.Version
	var bestName string
	for name := range l.adverts.References {
		tag, isTag := strings.CutPrefix(name, "refs/tags/")
		if !isTag {
			continue
		}
		version, err := semver.NewVersion(tag)
		if err != nil || !constraint.Check(version) {
			continue
		}
		if best == nil || version.GreaterThan(best) || version.Equal(best) && name > bestName {
			best, bestName = version, name
		}
	}
	if best == nil {
		return Resolved{}, fmt.Errorf("listing tags of %s: %w: no tag is a version in %q", l.url, ErrRefNotFound, f.SemVer)
	}
	resolved, err := l.named(f, bestName, ErrRefNotFound)
	resolved.Version = best.String()
	return resolved, err
}

// gives says whether the server answers a request for an object: it must be the tip of a ref, or the server must say that it
// gives out any.
func (l Listing) gives(hash plumbing.Hash) bool {
	for _, c := range []capability.Capability{capability.AllowReachableSHA1InWant, capability.Capability("allow-any-sha1-in-want")} {
		if l.adverts.Capabilities.Supports(c) {
			return true
		}
	}
	for _, tip := range l.adverts.References {
		if tip == hash {
			return true
		}
	}
	return false
}

// defaultBranch is what a commit is looked for in that the server does not give out by name.
func (l Listing) defaultBranch() (plumbing.Hash, bool) {
	if l.adverts.Head != nil {
		return *l.adverts.Head, true
	}
	return plumbing.ZeroHash, false
}

// LowerVersion says whether a version is lower than the one before; what is no version is not.
func LowerVersion(now, before string) bool {
	a, errNow := semver.NewVersion(now)
	b, errBefore := semver.NewVersion(before)
	return errNow == nil && errBefore == nil && a.LessThan(b)
}
