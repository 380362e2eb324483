package lint

import (
	"encoding/base64"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/cosign"
)

// checkSignatures looks at what a Sync says of signed images, and at the keys where their Secret is in the files. Whether images
// are signed is for registries to say, which are asked before anything is applied.
func (b *bundle) checkSignatures(s typed[v1alpha1.Sync]) []Finding {
	spec := s.v.Spec.Images.Signatures
	if spec == nil {
		return nil
	}
	var out []Finding
	for i, rule := range spec.Rules {
		at := fmt.Sprintf("spec.images.signatures.rules[%d]", i)
		for j, pattern := range rule.Images {
			if before := covering(spec.Rules[:i], pattern); before >= 0 {
				out = append(out, s.warnf(fmt.Sprintf("%s.images[%d]", at, j), "put the narrower rule first",
					"%q never decides: rules[%d] names all of it before", pattern, before))
			}
		}
		if rule.Keys == nil {
			continue
		}
		if secret := b.secret(s.document, rule.Keys.Name); secret != nil {
			if _, err := cosign.ParseKeys(secretData(secret.object)); err != nil {
				out = append(out, s.errorf(at+".keys", "give public keys in PEM, in entries that end in .pub", "Secret %q: %s", rule.Keys.Name, err))
			}
		}
	}
	return out
}

// covering is the first rule that names all that a pattern does, or -1. It tries the pattern with odd names in place of its stars.
func covering(rules []v1alpha1.ImageRule, pattern string) int {
	found := -1
	for _, deep := range []string{"q0z9x", "q0z9x/y0z9"} {
		sample := strings.ReplaceAll(strings.ReplaceAll(pattern, "**", deep), "*", "q0z9x")
		i := cosign.RuleFor(rules, sample)
		if i < 0 {
			return -1
		}
		found = max(found, i)
	}
	return found
}

func (b *bundle) secret(beside *document, name string) *document {
	for _, doc := range b.others {
		if doc.is("", "Secret") && doc.object.GetName() == name && sameNamespace(doc, beside) {
			return doc
		}
	}
	return nil
}

// secretData is what the API server would make of a Secret's data and stringData.
func secretData(u *unstructured.Unstructured) map[string][]byte {
	out := map[string][]byte{}
	data, _, _ := unstructured.NestedStringMap(u.Object, "data")
	for key, value := range data {
		out[key], _ = base64.StdEncoding.DecodeString(value)
	}
	text, _, _ := unstructured.NestedStringMap(u.Object, "stringData")
	for key, value := range text {
		out[key] = []byte(value)
	}
	return out
}
