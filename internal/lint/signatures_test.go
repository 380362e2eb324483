package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/belay-delivery/belay/gitops/cosign/cosigntest"
)

const signedSync = `apiVersion: belay.dev/v1alpha1
kind: Sync
metadata: {name: shop}
spec:
  repository: fleet
  path: apps
  serviceAccountName: deployer
  images:
    signatures:
      rules:
%s`

func TestG21_RulesOfImages(t *testing.T) {
	key := cosigntest.NewKey(t, "ecdsa")
	indent := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", "\n    ") }
	secret := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: k}\nstringData:\n  cosign.pub: |\n    %s\n"
	for name, test := range map[string]struct{ rules, more, want string }{
		"narrower first":  {rules: `      - {images: ["ghcr.io/shop/*"], keys: {name: k}}` + "\n" + `      - {images: ["ghcr.io/**", "**"], unsigned: Allowed}` + "\n"},
		"never reached":   {rules: `      - {images: ["ghcr.io/**"], unsigned: Allowed}` + "\n" + `      - {images: ["ghcr.io/shop/*"], keys: {name: k}}` + "\n", want: `spec.images.signatures.rules[1].images[0]: warning: "ghcr.io/shop/*" never decides: rules[0] names all of it before`},
		"partly reached":  {rules: `      - {images: ["ghcr.io/shop/*"], unsigned: Allowed}` + "\n" + `      - {images: ["ghcr.io/shop/**"], keys: {name: k}}` + "\n"},
		"a key":           {rules: `      - {images: ["**"], keys: {name: k}}` + "\n", more: fmt.Sprintf(secret, indent(key.PEM()))},
		"no key":          {rules: `      - {images: ["**"], keys: {name: k}}` + "\n", more: fmt.Sprintf(secret, "hello"), want: `spec.images.signatures.rules[0].keys: Secret "k": entry "cosign.pub": it holds no PEM block`},
		"a private key":   {rules: `      - {images: ["**"], keys: {name: k}}` + "\n", more: fmt.Sprintf(secret, indent(key.PrivatePEM())), want: "it holds a private key"},
		"another's":       {rules: `      - {images: ["**"], keys: {name: j}}` + "\n", more: fmt.Sprintf(secret, "hello")},
		"of a namespace":  {rules: `      - {images: ["**"], keys: {name: k}}` + "\n", more: strings.Replace(fmt.Sprintf(secret, "hello"), "{name: k}", "{name: k, namespace: other}", 1), want: "it holds no PEM block"},
		"data in base 64": {rules: `      - {images: ["**"], keys: {name: k}}` + "\n", more: "---\napiVersion: v1\nkind: Secret\nmetadata: {name: k}\ndata: {cosign.pub: aGVsbG8=}\n", want: "it holds no PEM block"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(lintText(t, fmt.Sprintf(signedSync, test.rules)+test.more), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) || strings.Contains(got, "BEGIN PRIVATE") {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
