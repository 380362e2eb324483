package preflight

import (
	"fmt"
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

// Images are the images that an object has pods run or mount, by field. Objects of all kinds are searched, whatever depth they
// keep a pod's spec at: lists named containers, initContainers and ephemeralContainers, and volumes that are images.
func Images(u *unstructured.Unstructured) []Image {
	if u.GetKind() == "CustomResourceDefinition" {
		return nil
	}
	var out []Image
	for key, value := range u.Object {
		if key != "metadata" && key != "status" {
			out = appendImages(out, key, key, value)
		}
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.Field, b.Field) })
	return out
}

// appendImages searches value, which stands at the path under key.
func appendImages(out []Image, path, key string, value any) []Image {
	switch typed := value.(type) {
	case map[string]any:
		for name, below := range typed {
			out = appendImages(out, path+"."+name, name, below)
		}
	case []any:
		for i, below := range typed {
			at := fmt.Sprintf("%s[%d]", path, i)
			if entry, ok := below.(map[string]any); ok {
				out = appendImage(out, at, key, entry)
			}
			out = appendImages(out, at, "", below)
		}
	}
	return out
}

// appendImage reads the image of an entry of a list with the name key. What is not text is no image by digest either.
func appendImage(out []Image, at, key string, entry map[string]any) []Image {
	image, at := entry["image"], at+".image"
	switch key {
	case "containers", "initContainers", "ephemeralContainers":
	case "volumes":
		source, _ := image.(map[string]any)
		image, at = source["reference"], at+".reference"
	default:
		return out
	}
	if image == nil || image == "" {
		return out
	}
	return append(out, Image{Name: fmt.Sprint(image), Field: at})
}
