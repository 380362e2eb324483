package revert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestG10_FoldersThatAreAppliedByThemselvesStay: what a folder is made of may be an environment of its own, with a kustomization or
// without one.
func TestG10_FoldersThatAreAppliedByThemselvesStay(t *testing.T) {
	good := map[string]string{
		"app/kustomization.yaml":  "resources: [../base, plain/checkout.yaml]\n",
		"base/kustomization.yaml": "resources: [service.yaml]\n", "base/service.yaml": service,
		"app/plain/checkout.yaml": rollout, "app/plain/readme.md": "x",
	}
	shared := map[string]string{
		"app/kustomization.yaml":  "resources: [../base]\n",
		"base/kustomization.yaml": "resources: [checkout.yaml]\n", "base/checkout.yaml": rollout,
	}
	around := map[string]string{"apps/app/checkout.yaml": rollout, "apps/service.yaml": service}
	for name, test := range map[string]struct {
		good    map[string]string
		file    string
		path    string
		applied []string
		want    string // what would change besides
	}{
		"nobody applies the base":           {shared, "base/checkout.yaml", "app", nil, ""},
		"the base is applied":               {shared, "base/checkout.yaml", "app", []string{"./base/"}, "folder base"},
		"the folder itself is applied":      {shared, "base/checkout.yaml", "app", []string{"app", "elsewhere", "../x"}, ""},
		"plain YAML that nobody applies":    {good, "app/plain/checkout.yaml", "app", []string{"base"}, ""},
		"plain YAML is applied":             {good, "app/plain/checkout.yaml", "app", []string{"app/plain"}, "folder app/plain"},
		"plain YAML around this is applied": {around, "apps/app/checkout.yaml", "apps/app", []string{"apps"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bad := replace(t, test.good, test.file, goodImage, badImage)
			in := inputAt(t, test.path, test.good, bad, bad)
			in.Applied = test.applied
			got, err := Compose(in)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if diff := cmp.Diff([]string{test.file}, got.Files); got.Outcome != Changes || diff != "" {
					t.Errorf("%s: %s\n%s", got.Outcome, got.Why, diff)
				}
				return
			}
			if got.Outcome != Conflict || got.Proposal == nil || !strings.Contains(got.Why, test.want) {
				t.Errorf("%s: %s", got.Outcome, got.Why)
			}
		})
	}
}
