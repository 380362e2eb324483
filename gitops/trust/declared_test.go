package trust

import (
	"strings"
	"testing"
)

// TestG26_ARolloutOfAnotherNamespaceCountsAsGitDeclaresIt: what the cluster says of it is only a hint where to look.
func TestG26_ARolloutOfAnotherNamespaceCountsAsGitDeclaresIt(t *testing.T) {
	r := newRepo(t)
	files := func(image, revert, extra string) map[string]string {
		return map[string]string{
			"apps/shop/kustomization.yaml": "resources: [../../base]\nnamespace: prod\nimages: [{name: shop, newTag: " + image + "}]\n",
			"base/kustomization.yaml":      "resources: [app.yaml]\n",
			"base/app.yaml": "apiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: shop}\nspec:\n  template: {spec: {containers: [{name: app, image: shop}]}}\n" +
				"  onFailure: {revert: {repository: fleet, " + revert + "}}\n",
			"values/prod.yaml": "image: {tag: \"" + image + "\"}\nadmin: " + extra + "\n",
		}
	}
	own := "path: ./apps/shop/"
	mapped := own + ", values: [{file: values/prod.yaml, path: image.tag, container: app, part: Tag}]"
	for name, test := range map[string]struct {
		revert, extra string
		declared      []Declared
		refuse        string
	}{
		"as Git declares it":             {mapped, "a", []Declared{{"apps/shop", "prod", "shop"}}, ""},
		"nobody says so":                 {mapped, "a", nil, "no folder that a bot may restore"},
		"another folder":                 {mapped, "a", []Declared{{"base", "prod", "shop"}}, "no folder that a bot may restore"},
		"of another namespace":           {mapped, "a", []Declared{{"apps/shop", "evil", "shop"}}, "no folder that a bot may restore"},
		"another Rollout":                {mapped, "a", []Declared{{"apps/shop", "prod", "evil"}}, "no folder that a bot may restore"},
		"Git says another path":          {"path: base", "a", []Declared{{"apps/shop", "prod", "shop"}}, "no folder that a bot may restore"},
		"Git says nothing of values":     {own, "a", []Declared{{"apps/shop", "prod", "shop"}}, "values/prod.yaml, which no folder"},
		"another value of the same file": {mapped, "evil", []Declared{{"apps/shop", "prod", "shop"}}, "in other places"},
		"no such folder":                 {mapped, "a", []Declared{{"apps/none", "prod", "shop"}, {"../x", "prod", "shop"}}, "no folder that a bot may restore"},
	} {
		t.Run(name, func(t *testing.T) {
			good := r.commit("ann", "good", files("v1", test.revert, "a"))
			bad := r.commit("ann", "bad", files("v2", test.revert, "a"), good)
			p := r.policy()
			p.Declared = test.declared
			_, err := Range(p, r, bad, r.commit("bot", "revert\n\nRollback-Id: abcdefgh12\nRestores: "+good, files("v1", test.revert, test.extra), bad))
			if (err == nil) != (test.refuse == "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
				t.Errorf("%v, want %q", err, test.refuse)
			}
		})
	}
}
