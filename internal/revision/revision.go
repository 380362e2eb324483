package revision

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// LabelRevision carries the revision of the template a pod was made from.
	LabelRevision = "belay.dev/revision"
	// LabelRole says which part a pod plays: stable, canary or previous.
	LabelRole = "belay.dev/role"

	// length of a revision in characters: about 47 bits.
	length = 10
	// alphabet has no vowels (no words), no 0, 1 or 3 (no look-alikes); its
	// first 20 characters are letters, and a revision begins with one of them,
	// so that YAML never takes a revision for a number.
	alphabet = "bcdfghjklmnpqrstvwxz2456789"
	letters  = 20
)

// structFields are fields whose Go type is a struct, or whose empty object the
// API treats as absent: some library versions emit them empty, others do not.
var structFields = map[string]bool{
	"metadata":        true,
	"resources":       true,
	"securityContext": true,
	"spec":            true,
	"status":          true,
}

// podDefaults and containerDefaults are constants that the API server fills in.
var (
	podDefaults = map[string]any{
		"dnsPolicy":                     "ClusterFirst",
		"restartPolicy":                 "Always",
		"schedulerName":                 "default-scheduler",
		"terminationGracePeriodSeconds": json.Number("30"),
	}
	containerDefaults = map[string]any{
		"terminationMessagePath":   "/dev/termination-log",
		"terminationMessagePolicy": "File",
	}
	portDefaults = map[string]any{"protocol": "TCP"}
)

// Hash returns the revision of a template: 10 lower-case characters, valid in a
// label value and in an object name, beginning with a letter. The labels
// belay.dev/revision and belay.dev/role do not count.
func Hash(template *corev1.PodTemplateSpec) (string, error) {
	if template == nil {
		return "", fmt.Errorf("hashing pod template: there is none")
	}
	raw, err := json.Marshal(template)
	if err != nil {
		return "", fmt.Errorf("encoding pod template: %w", err)
	}
	generic, err := decode(raw)
	if err != nil {
		return "", fmt.Errorf("decoding pod template: %w", err)
	}
	normalise(generic)
	return name(generic)
}

// HashMap returns the revision of a template in generic form, as rendered from
// YAML. It goes through the typed form, so that spellings with one meaning
// ("1" and "1000m" of CPU) have one revision.
func HashMap(template map[string]any) (string, error) {
	var typed corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &typed); err != nil {
		return "", fmt.Errorf("reading pod template: %w", err)
	}
	return Hash(&typed)
}

func decode(raw []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // large integers must not pass through float64
	var generic map[string]any
	err := decoder.Decode(&generic)
	return generic, err
}

// name encodes the SHA-256 of the canonical JSON: map keys come out sorted.
func name(generic map[string]any) (string, error) {
	canonical, err := json.Marshal(generic)
	if err != nil {
		return "", fmt.Errorf("encoding pod template: %w", err)
	}
	sum := sha256.Sum256(canonical)
	rest := binary.BigEndian.Uint64(sum[:8])
	out := make([]byte, 0, length)
	out = append(out, alphabet[rest%letters])
	rest /= letters
	for len(out) < length {
		out = append(out, alphabet[rest%uint64(len(alphabet))])
		rest /= uint64(len(alphabet))
	}
	return string(out), nil
}

func normalise(template map[string]any) {
	if metadata, ok := template["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
		if labels, ok := metadata["labels"].(map[string]any); ok {
			delete(labels, LabelRevision)
			delete(labels, LabelRole)
			dropEmpty(metadata, "labels")
		}
	}
	if spec, ok := template["spec"].(map[string]any); ok {
		dropDefaults(spec, podDefaults)
		for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
			forEach(spec[list], func(container map[string]any) {
				dropDefaults(container, containerDefaults)
				forEach(container["ports"], func(port map[string]any) { dropDefaults(port, portDefaults) })
			})
		}
	}
	prune(template)
}

func forEach(list any, visit func(map[string]any)) {
	items, _ := list.([]any)
	for _, item := range items {
		if object, ok := item.(map[string]any); ok {
			visit(object)
		}
	}
}

func dropDefaults(object, defaults map[string]any) {
	for key, value := range defaults {
		if object[key] == value {
			delete(object, key)
		}
	}
}

func dropEmpty(object map[string]any, key string) {
	if nested, ok := object[key].(map[string]any); ok && len(nested) == 0 {
		delete(object, key)
	}
}

// prune drops nulls everywhere, and empty objects of struct-typed fields.
func prune(value any) {
	switch typed := value.(type) {
	case map[string]any:
		for key, nested := range typed {
			if nested == nil {
				delete(typed, key)
				continue
			}
			prune(nested)
			if structFields[key] {
				dropEmpty(typed, key)
			}
		}
	case []any:
		for _, nested := range typed {
			prune(nested)
		}
	}
}
