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
