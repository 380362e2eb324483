package cosign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	hub     = "docker.io"
	hubHost = "index.docker.io"
	maxName = 1024
)

// ErrNoDigest says that an image is not named by digest.
var ErrNoDigest = errors.New("it is not named by digest")

// Image is an image by digest.
type Image struct {
	// Repository with its registry, as in docker.io/library/nginx.
	Repository string
	// Digest is sha256:….
	Digest string
}

func (i Image) String() string { return i.Repository + "@" + i.Digest }

// repositoryName is a registry and a repository as the distribution specification has them.
var repositoryName = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?` +
	`(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ParseImage reads what a container names. A tag beside the digest means nothing.
func ParseImage(text string) (Image, error) {
	before, digest, found := strings.Cut(text, "@")
	repository, err := Repository(before)
	switch {
	case err != nil:
		return Image{}, err
	case !found:
		return Image{Repository: repository}, ErrNoDigest
	case !sha256Digest.MatchString(digest):
		return Image{Repository: repository}, errors.New("its digest is not sha256: and 64 hexadecimal digits")
	}
	return Image{Repository: repository, Digest: digest}, nil
}

// Repository is the repository of an image, with its registry and without tag and digest.
func Repository(text string) (string, error) {
	if len(text) > maxName {
		return "", fmt.Errorf("the name of an image of more than %d bytes", maxName)
	}
	text, _, _ = strings.Cut(text, "@")
	reference, err := name.NewTag(text, name.WeakValidation)
	if err != nil {
		return "", fmt.Errorf("%q is not the name of an image", short(text))
	}
	registry := strings.ToLower(reference.RegistryStr())
	if registry == hubHost {
		registry = hub
	}
	repository := registry + "/" + reference.RepositoryStr()
	if !repositoryName.MatchString(repository) {
		return "", fmt.Errorf("%q is not the name of an image", short(text))
	}
	return repository, nil
}

// Match says whether a repository is as a pattern says: * stands for anything but a slash, ** for anything.
func Match(pattern, repository string) bool {
	if rest, ok := strings.CutPrefix(pattern, hubHost+"/"); ok {
		pattern = hub + "/" + rest
	}
	var expression strings.Builder
	expression.WriteString("^")
	for i, part := range strings.Split(pattern, "**") {
		if i > 0 {
			expression.WriteString(".*")
		}
		for j, literal := range strings.Split(part, "*") {
			if j > 0 {
				expression.WriteString("[^/]*")
			}
			expression.WriteString(regexp.QuoteMeta(literal))
		}
	}
	expression.WriteString("$")
	compiled, err := regexp.Compile(expression.String())
	return err == nil && compiled.MatchString(repository)
}

// RuleFor is the index of the first rule that names a repository, or -1.
func RuleFor(rules []v1alpha1.ImageRule, repository string) int {
	return slices.IndexFunc(rules, func(r v1alpha1.ImageRule) bool {
		return slices.ContainsFunc(r.Images, func(p string) bool { return Match(p, repository) })
	})
}
