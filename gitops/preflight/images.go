package preflight

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Image is a container's image and where it stands.
type Image struct {
	Name  string
	Field string
}

var digest = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// Pinned says whether the image is named by digest: a tag can be moved after it was approved.
func (i Image) Pinned() bool { return digest.MatchString(i.Name) }

// Content names what is run: images with the same one are the same. It is the digest, where there is one, whatever the registry is;
// else the whole name, with the registry and the tag that a short one stands for.
func (i Image) Content() string {
	if at := strings.LastIndex(i.Name, "@"); at >= 0 {
		return i.Name[at+1:]
	}
	repository, tag := i.split()
	return repository + ":" + tag
}

// Repository is the whole name without tag and digest.
func (i Image) Repository() string {
	repository, _ := i.split()
	return repository
}

func (i Image) split() (repository, tag string) {
	repository, _, _ = strings.Cut(i.Name, "@")
	tag = "latest"
	if at := strings.LastIndex(repository, ":"); at > strings.LastIndex(repository, "/") {
		repository, tag = repository[:at], repository[at+1:]
	}
	first, _, long := strings.Cut(repository, "/")
	switch {
	case !long:
		repository = "docker.io/library/" + repository
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		repository = "docker.io/" + repository
	}
	return repository, tag
}

// Images are the images of an object's pods, by field.
func Images(u *unstructured.Unstructured) []Image {
	spec, at := PodSpec(u)
	if spec == nil {
		return nil
	}
	var out []Image
	for path, c := range containers(spec, at) {
		if c.Image != "" {
			out = append(out, Image{Name: c.Image, Field: path + ".image"})
		}
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.Field, b.Field) })
	return out
}
