package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // Git's own object names
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/gitops/signature"
	"github.com/belay-delivery/belay/gitops/tree"
)

// repo is a repository in memory whose commits are signed with real keys.
type repo struct {
	testing.TB
	raws  map[string][]byte
	trees map[string]tree.Tree
	cut   map[string]bool
	keys  map[string]signature.Key
}

func newRepo(t testing.TB) *repo {
	r := &repo{TB: t, raws: map[string][]byte{}, trees: map[string]tree.Tree{}, cut: map[string]bool{}, keys: map[string]signature.Key{}}
	for _, who := range []string{"ann", "bob", "bot", "eve"} {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			t.Fatal(err)
		}
		if r.keys[who], err = signature.ParseKey(pem.EncodeToMemory(block), nil); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *repo) Raw(sha string) ([]byte, error) {
	raw, found := r.raws[sha]
	if !found {
		return nil, fs.ErrNotExist
	}
	return raw, nil
}

func (r *repo) Cut(sha string) bool { return r.cut[sha] }

func (r *repo) Tree(sha string) (tree.Tree, error) {
	found, has := r.trees[sha]
	if !has {
		return nil, fs.ErrNotExist
	}
	return found, nil
}

// commit adds a commit by somebody, signed with their key unless who begins with "-".
func (r *repo) commit(who, message string, files map[string]string, parents ...string) string {
	r.Helper()
	name := strings.TrimPrefix(who, "-")
	text := fmt.Sprintf("tree 4b825dc642cb6eb9a060e54bf8d69288fbee49%02x\n", len(r.raws))
	for _, parent := range parents {
		text += "parent " + parent + "\n"
	}
	text += fmt.Sprintf("author A <a@x> 1790000000 +0000\ncommitter C <%s@x> 1790000000 +0000\n\n%s\n", name, message)
	raw := []byte(text)
	if name == who {
		signed, err := signature.Sign(r.keys[who], raw)
		if err != nil {
			r.Fatal(err)
		}
		raw = signature.Attach(raw, signed)
	}
	sum := sha1.Sum(raw) //nolint:gosec // Git's own object names
	sha := hex.EncodeToString(sum[:])
	r.raws[sha], r.trees[sha] = raw, tree.FromMap(files)
	return sha
}

func (r *repo) policy(folders ...string) Policy {
	r.Helper()
	line := func(who string) string { return who + "@x " + r.keys[who].PublicLine() + "\n" }
	s, err := signature.ParseSigners(map[string][]byte{
		"authors": []byte(line("ann")), "approvers": []byte(line("bob")), "bots": []byte(line("bot")),
	})
	if err != nil {
		r.Fatal(err)
	}
	return Policy{Signers: s, Folders: folders}
}

func refusedBy(err error) string {
	var e *Error
	var out []string
	if errors.As(err, &e) {
		for _, refusal := range e.Refusals {
			out = append(out, refusal.Subject+":"+string(signature.ReasonOf(refusal.Err)))
		}
	}
	if errors.Is(err, ErrIncomplete) {
		out = append(out, "incomplete")
	}
	return strings.Join(out, " ")
}

// TestG26_AnUnsignedCommitBeneathASignedTipIsRefused: Head sees the tip alone, Range every commit of the branch.
func TestG26_AnUnsignedCommitBeneathASignedTipIsRefused(t *testing.T) {
	r := newRepo(t)
	base := r.commit("-ann", "base", nil)
	good := r.commit("ann", "good", nil, base)
	hidden := r.commit("-eve", "hidden", nil, good)
	foreign := r.commit("eve", "foreign", nil, hidden)
	tip := r.commit("bob", "tip", nil, foreign)
	if got, err := Head(r.policy(), r, tip); err != nil || !got.Signer.Has(signature.Approvers) {
		t.Errorf("Head: %+v, %v", got, err)
	}
	_, err := Range(r.policy(), r, good, tip)
	if got, want := refusedBy(err), "foreign:UnknownKey hidden:Unsigned"; got != want {
		t.Errorf("Range refuses %q, want %q: %v", got, want, err)
	}
	for _, sha := range []string{hidden, foreign} {
		if err == nil || !strings.Contains(err.Error(), sha) {
			t.Errorf("%s is not named in %v", sha, err)
		}
	}
	if _, err := Head(r.policy(), r, hidden); refusedBy(err) != "hidden:Unsigned" {
		t.Errorf("Head of an unsigned one: %v", err)
	}
}

func TestG26_RangesOfAllShapes(t *testing.T) {
	r := newRepo(t)
	root := r.commit("ann", "root", nil)
	base := r.commit("ann", "base", nil, root)
	one := r.commit("ann", "one", nil, base)
	side := r.commit("-eve", "side", nil, base)
	merge := r.commit("bob", "merge", nil, one, side)
	swapped := r.commit("bob", "swapped", nil, side, one)
	rewritten := r.commit("ann", "rewritten", nil, root)
	orphan := r.commit("ann", "orphan", nil)
	shallow := r.commit("ann", "shallow", nil, strings.Repeat("ab", 20))
	above := r.commit("ann", "above", nil, shallow)
	r.cut[shallow] = true
	for name, test := range map[string]struct {
		base, head string
		commits    int
		refused    string
	}{
		"none in force":                {"", one, 1, ""},
		"the same":                     {one, one, 1, ""},
		"one":                          {base, one, 1, ""},
		"a merge answers for its side": {base, merge, 2, ""},
		"the line is the first parent": {base, swapped, 0, "side:Unsigned"},
		"merged line in force":         {one, swapped, 0, "side:Unsigned"},
		"back":                         {one, base, 1, ""},
		"rewritten and signed":         {one, rewritten, 1, ""},
		"another root, signed":         {one, orphan, 1, ""},
		"more than is known":           {one, above, 0, "incomplete"},
		"in force is gone":             {strings.Repeat("cd", 20), one, 0, "incomplete"},
		"not there":                    {one, strings.Repeat("cd", 20), 0, "incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Range(r.policy(), r, test.base, test.head)
			if refusedBy(err) != test.refused || got.Commits != test.commits || (err == nil) != (test.refused == "") {
				t.Errorf("%d commits, %v, want %d, refused %q", got.Commits, err, test.commits, test.refused)
			}
		})
	}
	long := base
	for range 5 {
		long = r.commit("ann", "long", nil, long)
	}
	p := r.policy()
	p.Limit = 4
	if _, err := Range(p, r, base, long); !errors.Is(err, ErrIncomplete) {
		t.Errorf("over the limit: %v", err)
	}
	p.Limit = 5
	if got, err := Range(p, r, base, long); err != nil || got.Commits != 5 {
		t.Errorf("at the limit: %+v, %v", got, err)
	}
}

func shop(image string, replicas int) map[string]string {
	return map[string]string{
		"apps/shop/kustomization.yaml": "resources: [../../base]\nimages: [{name: shop, newTag: " + image + "}]\n",
		"base/kustomization.yaml":      "resources: [app.yaml]\n",
		"base/app.yaml": fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: %d\n  template:\n    spec:\n"+
			"      containers:\n      - {name: app, image: shop}\n", replicas),
		"other/readme.md": "x",
	}
}

func with(files map[string]string, name, content string) map[string]string {
	out := map[string]string{}
	for k, v := range files {
		out[k] = v
	}
	out[name] = content
	return out
}

// TestG25_G26_ABotsKeyCanOnlyBringBack: a stolen key of a bot rolls back, and does nothing else.
func TestG25_G26_ABotsKeyCanOnlyBringBack(t *testing.T) {
	r := newRepo(t)
	good := r.commit("ann", "good", shop("v1", 1))
	bad := r.commit("ann", "bad", shop("v2", 1), good)
	scaled := r.commit("ann", "scaled", shop("v2", 5), bad)
	aside := r.commit("-eve", "aside", shop("v666", 1), good)
	trailers := func(restores string) string {
		return "revert(shop): v2 -> v1\n\nwhy\n\nRollback-Id: 0123456789ab\nRestores: " + restores
	}
	folder := shop("v1", 5)
	for name, test := range map[string]struct {
		message string
		files   map[string]string
		parents []string
		want    string
	}{
		"revert, and what came since stays": {trailers(good), folder, []string{scaled}, ""},
		"no trailer":                        {"chore: x", folder, []string{scaled}, "no trailers"},
		"trailer in the body":               {trailers(good) + "\n\nSigned-off-by: x", folder, []string{scaled}, "no trailers"},
		"merge":                             {trailers(good), folder, []string{scaled, good}, "2 parents"},
		"another image":                     {trailers(good), shop("v666", 5), []string{scaled}, "Deployment.apps /shop of folder apps/shop something else"},
		"of a side branch":                  {trailers(aside), shop("v666", 5), []string{scaled}, "not known to be a commit before it"},
		"more than restored":                {trailers(good), shop("v1", 50), []string{scaled}, "something else"},
		"another file":                      {trailers(good), with(folder, "other/readme.md", "y"), []string{scaled}, "other/readme.md"},
		"a new object": {trailers(good), with(with(folder, "base/kustomization.yaml", "resources: [app.yaml, evil.yaml]\n"), "base/evil.yaml",
			"apiVersion: v1\nkind: Secret\nmetadata: {name: evil}\n"), []string{scaled}, "Secret"},
		"does not render": {trailers(good), with(folder, "base/app.yaml", "{"), []string{scaled}, "cannot be rendered"},
	} {
		t.Run(name, func(t *testing.T) {
			sha := r.commit("bot", test.message, test.files, test.parents...)
			_, err := Range(r.policy("apps/shop"), r, scaled, sha)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	sha := r.commit("bot", trailers(good), folder, scaled)
	if _, err := Head(r.policy(), r, sha); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("without a folder: %v", err)
	}
}

// TestG26_ABotsKeyReachesNobodyElse: a base is read by several overlays, and the one that is reverted may override what is
// changed in it. Whoever else reads the base, or applies it as it is, must get nothing that never was there.
func TestG26_ABotsKeyReachesNobodyElse(t *testing.T) {
	r := newRepo(t)
	files := func(base, prod, staging string, replicas int) map[string]string {
		out := shop(prod, replicas)
		out["apps/staging/kustomization.yaml"] = "resources: [../../base]\n" + staging
		out["base/app.yaml"] = strings.Replace(out["base/app.yaml"], "image: shop}", "image: \"shop:"+base+"\", args: [a, b]}", 1)
		out["flux/kustomization.yaml"] = "resources: [broken.yaml]\n" // never renders: nobody applies it
		return out
	}
	own := "images: [{name: shop, newTag: own}]\n"
	good := r.commit("ann", "good", files("b1", "v1", "", 1))
	bad := r.commit("ann", "bad", files("b2", "v2", "", 5), good)
	message := "revert\n\nRollback-Id: abcdefgh12\nRestores: " + good
	plain := func(files map[string]string) map[string]string { // the base is a folder of plain YAML's
		return with(files, "base/app.yaml", strings.Replace(files["base/app.yaml"], "args: [a, b]", "args: [a, evil]", 1))
	}
	for name, test := range map[string]struct {
		files  map[string]string
		refuse string
	}{
		"prod alone": {files("b2", "v1", "", 5), ""},
		"the base goes back, and staging with it": {files("b1", "v1", "", 5), ""},
		"the base gets another image":             {files("evil", "v1", "", 5), "something else"},
		"the base gets it, and nothing else":      {files("evil", "v2", "", 5), "something else"},
		"args of the base":                        {plain(files("b2", "v1", "", 5)), "something else"},
		"staging itself":                          {files("b2", "v1", own, 5), "apps/staging/kustomization.yaml"},
		"the base does not render any more":       {with(files("b2", "v1", "", 5), "base/app.yaml", "a: b\n"), "cannot be rendered"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Head(r.policy("apps/shop"), r, r.commit("bot", message, test.files, bad))
			if (err == nil) != (test.refuse == "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
				t.Errorf("%v, want %q", err, test.refuse)
			}
		})
	}
	// The overlay hides what it takes from the base, and staging pins its own: the base itself is what is left to look at.
	hidden := func(base string) map[string]string { return files(base, "v2", own, 5) }
	before := r.commit("ann", "before", hidden("b2"), good)
	_, err := Head(r.policy("apps/shop"), r, r.commit("bot", message, hidden("evil"), before))
	if err == nil || !strings.Contains(err.Error(), "base") {
		t.Errorf("a base that may be applied as it is: %v", err)
	}
}

// TestG26_ABotsKeyAndFilesWithoutKustomization: what kustomize reads may be applied as plain YAML as well, by file.
func TestG26_ABotsKeyAndFilesWithoutKustomization(t *testing.T) {
	r := newRepo(t)
	files := func(image, kustomization string) map[string]string {
		return map[string]string{
			"prod/kustomization.yaml": kustomization,
			"prod/plain/app.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {template: {spec: {containers: [{name: app, image: \"shop:" + image + "\"}]}}}\n",
		}
	}
	pinned := func(tag string) string {
		return "resources: [plain/app.yaml]\nimages: [{name: shop, newTag: " + tag + "}]\n"
	}
	good := r.commit("ann", "good", files("1", pinned("v1")))
	bad := r.commit("ann", "bad", files("2", pinned("v2")), good)
	message := "revert\n\nRollback-Id: abcdefgh12\nRestores: " + good
	for name, test := range map[string]struct {
		files  map[string]string
		refuse string
	}{
		"the overlay":         {files("2", pinned("v1")), ""},
		"both":                {files("1", pinned("v1")), ""},
		"evil behind the pin": {files("evil", pinned("v1")), "Deployment.apps /shop of prod/plain/app.yaml something else"},
		"an object beside it": {with(files("2", pinned("v1")), "prod/plain/app.yaml", files("2", "")["prod/plain/app.yaml"]+
			"---\napiVersion: v1\nkind: Secret\nmetadata: {name: evil}\n"), "Secret"},
		"gone, but at good it was there": {map[string]string{"prod/kustomization.yaml": "resources: []\n"}, "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Head(r.policy("prod"), r, r.commit("bot", message, test.files, bad))
			if (err == nil) != (test.refuse == "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
				t.Errorf("%v, want %q", err, test.refuse)
			}
		})
	}
}

// TestG41_ABotsValuesMayBeReadByOthers: a kustomization that makes a ConfigMap of a file of values, as Flux wants it, gets the named
// values back, whatever else was committed there since.
func TestG41_ABotsValuesMayBeReadByOthers(t *testing.T) {
	r := newRepo(t)
	files := func(tag, rest string) map[string]string {
		return map[string]string{
			"flux/kustomization.yaml": "configMapGenerator: [{name: values, files: [values.yaml]}]\n",
			"flux/values.yaml":        "image: {tag: \"" + tag + "\"}\nadmin: " + rest + "\n",
		}
	}
	good := r.commit("ann", "good", files("1", "a"))
	bad := r.commit("ann", "bad", files("2", "b"), good)
	p := r.policy()
	p.Values = []revert.Value{{File: "flux/values.yaml", Path: "image.tag", Container: "app", Part: revert.PartTag}}
	message := "revert\n\nRollback-Id: abcdefgh12\nRestores: " + good
	if _, err := Head(p, r, r.commit("bot", message, files("1", "b"), bad)); err != nil {
		t.Error(err)
	}
	if _, err := Head(p, r, r.commit("bot", message, files("1", "evil"), bad)); err == nil || !strings.Contains(err.Error(), "in other places") {
		t.Errorf("another place: %v", err)
	}
}

// TestG41_ABotsKeyBringsBackOnlyTheNamedValues: in a file of values, a stolen key of a bot reaches the places named, and there only
// what the restored commit has.
func TestG41_ABotsKeyBringsBackOnlyTheNamedValues(t *testing.T) {
	r := newRepo(t)
	values := func(tag, rest string) map[string]string {
		return map[string]string{"charts/shop/values.yaml": "image: {tag: \"" + tag + "\"}\nadmin: " + rest + "\n", "charts/x/values.yaml": "image: {tag: \"" + tag + "\"}\n"}
	}
	good := r.commit("ann", "good", values("1", "a"))
	bad := r.commit("ann", "bad", with(values("2", "a"), "charts/x/values.yaml", ""), good)
	p := r.policy()
	p.Values = []revert.Value{{File: "./charts/shop/values.yaml", Path: "image.tag", Container: "app", Part: revert.PartTag}}
	message := "revert\n\nRollback-Id: abcdefgh12\nRestores: " + good
	for name, test := range map[string]struct {
		files  map[string]string
		refuse string
	}{
		"the value of good":         {with(values("1", "a"), "charts/x/values.yaml", ""), ""},
		"another value":             {with(values("3", "a"), "charts/x/values.yaml", ""), "becomes something else"},
		"another place":             {with(values("1", "b"), "charts/x/values.yaml", ""), "in other places"},
		"another file":              {with(values("1", "a"), "charts/x/values.yaml", "a: 1\n"), "no folder that a bot may restore is made of"},
		"the file is gone":          {map[string]string{"charts/x/values.yaml": ""}, "reading it"},
		"a document that was added": {with(with(values("1", "a"), "charts/x/values.yaml", ""), "charts/shop/values.yaml", values("1", "a")["charts/shop/values.yaml"]+"---\nx: 1\n"), "in other places"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Head(p, r, r.commit("bot", message, test.files, bad))
			if (err == nil) != (test.refuse == "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
				t.Errorf("%v, want %q", err, test.refuse)
			}
		})
	}
}
