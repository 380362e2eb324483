package revert

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/tree"
	"github.com/belay-delivery/belay/internal/revision"
)

const valuesFile = "charts/checkout/values-prod.yaml"

var tagValue = Value{File: valuesFile, Path: "image.tag", Container: "app", Part: PartTag}

// template is the pod template that a chart makes of a tag and a log level.
func template(t testing.TB, tag, level string) (string, map[string]any) {
	t.Helper()
	text := "metadata: {labels: {app: checkout}}\nspec:\n  containers:\n  - name: app\n    image: registry.example.com/shop/checkout:" + tag +
		"\n    env: [{name: LEVEL, value: \"" + level + "\"}]\n    resources: {limits: {cpu: \"2\"}}\n"
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	hash, err := revision.HashMap(out)
	if err != nil {
		t.Fatal(err)
	}
	return hash, out
}

// valuesInput has three versions of the file, and of the workload tag 1.4 (good) and 1.5 (bad), both at level info.
func valuesInput(t testing.TB, good, bad, head string, values ...Value) Input {
	in := Input{Workload: checkout, Values: values, Known: map[string]map[string]any{}}
	for _, side := range []struct {
		tag, text string
		revision  *string
		tree      *tree.Tree
	}{{"1.4", good, &in.GoodRevision, &in.Good}, {"1.5", bad, &in.BadRevision, &in.Bad}, {"", head, nil, &in.Head}} {
		*side.tree = tree.FromMap(map[string]string{valuesFile: side.text, "other.yaml": "a: 1\n"})
		if side.revision != nil {
			hash, content := template(t, side.tag, "info")
			*side.revision, in.Known[hash] = hash, content
		}
	}
	return in
}

// TestG41_ValuesGoBackByteForByte: of a file that Belay does not render, the named values go back and nothing else.
func TestG41_ValuesGoBackByteForByte(t *testing.T) {
	level := Value{File: valuesFile, Path: "env[name=LEVEL].value", Field: "spec.containers[name=app].env[name=LEVEL].value"}
	whole := Value{File: valuesFile, Path: `sidecars[1]["the.image"]`, Container: "app"}
	for name, c := range map[string]struct {
		good, bad, head, want string
		values                []Value
	}{
		"a later edit beside it stays": {
			"# prod\nimage:\n  repository: x # r\n  tag: \"1.4\"   # bumped by a bot\nreplicas: 2\n", "# prod\nimage:\n  repository: x # r\n  tag: \"1.5\"   # bumped by a bot\nreplicas: 2\n",
			"# prod!\nimage:\n  repository: x # r\n  tag: \"1.5\"   # bumped by a bot, see #12\n\nreplicas: 3\n", "# prod!\nimage:\n  repository: x # r\n  tag: \"1.4\"   # bumped by a bot, see #12\n\nreplicas: 3\n",
			[]Value{tagValue},
		},
		"flow style, CRLF, byte order mark": {
			"\ufeffimage: {repository: x, tag: '1.4'}\r\nreplicas: 2\r\n", "\ufeffimage: {repository: x, tag: '1.5'}\r\nreplicas: 2\r\n",
			"\ufeffimage: {tag: '1.5', repository: x, pullPolicy: Always}\r\nreplicas: 2", "\ufeffimage: {tag: '1.4', repository: x, pullPolicy: Always}\r\nreplicas: 2",
			[]Value{tagValue},
		},
		"newer quotes stay": {"image: {tag: \"1.4\"}\n", "image: {tag: \"1.5\"}\n", "image: {tag: '1.5'}\n", "image: {tag: '1.4'}\n", []Value{tagValue}},
		"a value in a list, of a key with a dot, beside an item by name": {
			"env:\n- {name: LEVEL, value: info}\nsidecars:\n- the.image: z\n- the.image: registry.example.com/shop/checkout:1.4\n",
			"env:\n- {name: LEVEL, value: info}\nsidecars:\n- the.image: z\n- the.image: registry.example.com/shop/checkout:1.5\n",
			"sidecars:\n- the.image: z2\n- the.image: registry.example.com/shop/checkout:1.5 # !\nenv:\n- {name: LEVEL, value: info}\n",
			"sidecars:\n- the.image: z2\n- the.image: registry.example.com/shop/checkout:1.4 # !\nenv:\n- {name: LEVEL, value: info}\n",
			[]Value{whole, level},
		},
		"a HelmRelease among documents": {
			"kind: A\n---\nkind: HelmRelease\nspec: {values: {image: {tag: \"1.4\"}}}\n", "kind: A\n---\nkind: HelmRelease\nspec: {values: {image: {tag: \"1.5\"}}}\n",
			"kind: A\nb: 1\n---\nkind: HelmRelease\nspec: {values: {image: {tag: \"1.5\"}}}\n", "kind: A\nb: 1\n---\nkind: HelmRelease\nspec: {values: {image: {tag: \"1.4\"}}}\n",
			[]Value{{File: valuesFile, Path: "spec.values.image.tag", Container: "app", Part: PartTag}},
		},
		"an anchor and its alias": {
			"tag: &tag \"1.4\"\nimage: {tag: *tag}\n", "tag: &tag \"1.5\"\nimage: {tag: *tag}\n", "tag: &tag \"1.5\"\nimage: {tag: *tag}\n", "tag: &tag \"1.4\"\nimage: {tag: *tag}\n",
			[]Value{tagValue, {File: valuesFile, Path: "tag", Container: "app", Part: PartTag}},
		},
		"an alias whose anchor is not named": {
			"tag: &tag \"1.4\"\nimage: {tag: *tag}\n", "tag: &tag \"1.5\"\nimage: {tag: *tag}\n", "tag: &tag \"1.5\"\nimage: {tag: *tag}\n", "tag: &tag \"1.5\"\nimage: {tag: \"1.4\"}\n",
			[]Value{tagValue},
		},
		"a value that the bad commit added": {
			"image:\n  tag: \"1.4\"\n", "image:\n  tag: \"1.5\"\n  digest: \"\"\n", "image:\n  tag: \"1.5\"\n  digest: \"\"\n# end\n", "image:\n  tag: \"1.4\"\n# end\n",
			[]Value{tagValue, {File: valuesFile, Path: "image.digest", Container: "app", Part: PartDigest}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := valuesInput(t, c.good, c.bad, c.head, c.values...)
			result, err := Compose(in)
			if err != nil || result.Outcome != Changes {
				t.Fatalf("%v, %s: %s", err, result.Outcome, result.Why)
			}
			if diff := cmp.Diff(c.want, string(*result.Changes[valuesFile])); diff != "" || len(result.Changes) != 1 {
				t.Errorf("(-want +got):\n%s", diff)
			}
			after, err := in.where().RevisionAt(tree.Overlay(in.Head, result.Changes))
			if err != nil || after != in.GoodRevision {
				t.Errorf("the result is revision %q, %v", after, err)
			}
		})
	}
}

// TestG41_ValuesThatCannotGoBackAreAConflict: what is not certain is not committed.
func TestG41_ValuesThatCannotGoBackAreAConflict(t *testing.T) {
	file := func(tag string) string { return "image:\n  tag: \"" + tag + "\"\nother:\n  tag: app\n" }
	wrong := Value{File: valuesFile, Path: "other.tag", Container: "app", Part: PartTag}
	for name, c := range map[string]struct {
		good, bad, head string
		values          []Value
		outcome         Outcome
		why             string
	}{
		"somebody was quicker":      {file("1.4"), file("1.5"), file("1.6"), []Value{tagValue}, AlreadyResolved, "not those of revision"},
		"it is good again":          {file("1.4"), file("1.5"), file("1.4"), []Value{tagValue}, AlreadyResolved, "not those of revision"},
		"one of two was fixed":      {file("1.4"), file("1.5"), strings.Replace(file("1.5"), "app", "1.5", 1), []Value{tagValue, wrong}, Conflict, "is the mapping in onFailure.revert.values right?"},
		"the file is gone":          {file("1.4"), file("1.5"), "", []Value{{File: "gone.yaml", Path: "a", Container: "app"}}, Conflict, "gone.yaml, which onFailure.revert.values names, does not exist"},
		"no such place":             {file("1.4"), file("1.5"), file("1.5"), []Value{{File: valuesFile, Path: "a.b", Container: "app"}}, Conflict, "has no place for a.b"},
		"a mapping, not a value":    {file("1.4"), file("1.5"), file("1.5"), []Value{{File: valuesFile, Path: "image", Container: "app"}}, Conflict, "not a single value"},
		"no such container":         {file("1.4"), file("1.5"), file("1.5"), []Value{{File: valuesFile, Path: "image.tag", Container: "web", Part: PartTag}}, Conflict, `no container "web"`},
		"the revisions are alike":   {file("1.4"), file("1.5"), file("1.5"), []Value{{File: valuesFile, Path: "other.tag", Field: "spec.containers[name=app].name"}}, Conflict, "are the same in revisions"},
		"the wrong commit was good": {file("1.3"), file("1.5"), file("1.5"), []Value{tagValue}, Conflict, "is the mapping in onFailure.revert.values right?"},
		"two documents have it":     {file("1.4"), file("1.5"), file("1.5") + "---\n" + file("1.5"), []Value{tagValue}, Conflict, "more than one document"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Compose(valuesInput(t, c.good, c.bad, c.head, c.values...))
			if err != nil || result.Outcome != c.outcome || !strings.Contains(result.Why, c.why) || result.Proposal != nil {
				t.Errorf("%v, %s: %s", err, result.Outcome, result.Why)
			}
		})
	}
}

// TestG10_ValuesThatAreNotAllAreAProposal: where the template differs in more than the values, a person looks.
func TestG10_ValuesThatAreNotAllAreAProposal(t *testing.T) {
	in := valuesInput(t, "image: {tag: \"1.4\"}\n", "image: {tag: \"1.5\"}\n", "image: {tag: \"1.5\"} # now\n", tagValue)
	delete(in.Known, in.BadRevision)
	in.BadRevision, in.Known["x"] = template(t, "1.5", "debug")
	in.Known[in.BadRevision] = in.Known["x"]
	delete(in.Known, "x")
	result, err := Compose(in)
	if err != nil || result.Outcome != Conflict || !strings.Contains(result.Why, "not all that differs") {
		t.Fatalf("%v, %s: %s", err, result.Outcome, result.Why)
	}
	if got := string(*result.Proposal[valuesFile]); got != "image: {tag: \"1.4\"} # now\n" {
		t.Errorf("proposed is %q", got)
	}
}

const rendered = "rendered/prod"

// output is what a pipeline renders of a tag, committed beside the values.
func output(tag string, port int) string {
	return fmt.Sprintf("# made by helm template\napiVersion: belay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n  template:\n    spec:\n"+
		"      containers:\n      - {name: app, image: \"x:%s\"}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: checkout, namespace: shop}\nspec: {ports: [{port: %d}]}\n", tag, port)
}

func renderedInput(t testing.TB, good, bad, head map[string]string, values ...Value) Input {
	t.Helper()
	in := Input{Good: tree.FromMap(good), Bad: tree.FromMap(bad), Head: tree.FromMap(head), Path: rendered, Workload: checkout, Values: values}
	var err error
	if in.GoodRevision, err = RevisionAt(in.Good, rendered, checkout); err != nil {
		t.Fatal(err)
	}
	if in.BadRevision, err = RevisionAt(in.Bad, rendered, checkout); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestG41_ValuesGoBackWithTheRenderedOutput: both in one commit, so that the next rendering does not bring the bad revision again.
func TestG41_ValuesGoBackWithTheRenderedOutput(t *testing.T) {
	files := func(values, out string, port int) map[string]string {
		return map[string]string{valuesFile: "image: {tag: \"" + values + "\"} # tag\n", rendered + "/all.yaml": output(out, port)}
	}
	for name, c := range map[string]struct {
		good, bad, head, want map[string]string
		why                   string
	}{
		"both are bad":                  {files("1", "1", 80), files("2", "2", 80), files("2", "2", 81), files("1", "1", 81), ""},
		"the values are good already":   {files("1", "1", 80), files("2", "2", 80), files("1", "2", 81), files("1", "1", 81), ""},
		"somebody is mending them":      {files("1", "1", 80), files("2", "2", 80), files("3", "2", 80), nil, "head holds neither"},
		"good's output was of other":    {files("2", "1", 80), files("2", "2", 80), files("2", "2", 80), nil, "is not what the good revision has there"},
		"the values say something else": {files("9", "1", 80), files("9", "2", 80), files("9", "2", 80), nil, "is the mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Compose(renderedInput(t, c.good, c.bad, c.head, tagValue))
			if err != nil || c.want == nil {
				if err != nil || result.Outcome != Conflict || !strings.Contains(result.Why, c.why) {
					t.Errorf("%v, %s: %s", err, result.Outcome, result.Why)
				}
				return
			}
			if result.Outcome != Changes {
				t.Fatalf("%s: %s", result.Outcome, result.Why)
			}
			compare(t, c.want, tree.Overlay(tree.FromMap(c.head), result.Changes))
		})
	}
}

// TestG41_TheGoodCommitIsOneWhoseValuesAgree: between a change of the values and the commit of what is rendered of them, the folder
// says good and the values say bad.
func TestG41_TheGoodCommitIsOneWhoseValuesAgree(t *testing.T) {
	trees := map[string]tree.Tree{}
	var log []git.Commit
	for i, c := range [][2]string{{"2", "2"}, {"2", "1"}, {"1", "1"}} { // newest first: values, output
		sha := fmt.Sprint(3 - i)
		trees[sha] = tree.FromMap(map[string]string{valuesFile: "image: {tag: \"" + c[0] + "\"}\n", rendered + "/all.yaml": output(c[1], 80)})
		log = append(log, git.Commit{SHA: sha})
	}
	in := renderedInput(t, map[string]string{rendered + "/a.yaml": output("1", 80)}, map[string]string{rendered + "/a.yaml": output("2", 80)}, nil, tagValue)
	history := History{Log: log, TreeOf: func(sha string) (tree.Tree, error) { return trees[sha], nil }}
	if found, ok, err := history.Newest(in.where(), in.GoodRevision); err != nil || !ok || found.SHA != "1" {
		t.Errorf("found %q, %v, %v", found.SHA, ok, err)
	}
	history.Log = log[:2]
	if found, ok, err := history.Newest(in.where(), in.GoodRevision); err != nil || !ok || found.SHA != "2" {
		t.Errorf("where none agrees, found %q, %v, %v", found.SHA, ok, err)
	}
}

// TestRandomValues: whatever else was changed in the file before, in and after the bad commit stays byte for byte.
func TestRandomValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		eol, quote := draw("eol", "\n", "\r\n"), draw("quote", `"`, `'`)
		form := draw("form", "block", "flow", "list")
		type state struct{ tag, level, other, comment int }
		file := func(s state) string {
			out := fmt.Sprintf("# values %d\nreplicas: %d # %d\n", s.comment, s.other, s.comment)
			tag, level := fmt.Sprintf("%s1.%d%s", quote, s.tag, quote), fmt.Sprintf("l%d", s.level)
			switch form {
			case "block":
				out += fmt.Sprintf("image:\n  # above %d\n  repository: \"x%d\"\n  tag: %s # %d\n  level: %s\n", s.comment, s.other, tag, s.comment, level)
			case "flow":
				out += fmt.Sprintf("image: {repository: x%d, tag: %s, level: %s} # %d\n", s.other, tag, level, s.comment)
			case "list":
				out += fmt.Sprintf("image:\n- {name: a, tag: %d}\n- name: app # %d\n  tag: %s # %d\n  level: %s\n", s.other, s.comment, tag, s.comment, level)
			}
			return strings.ReplaceAll(out+fmt.Sprintf("end: [%d]\n", s.other), "\n", eol)
		}
		at := "image"
		if form == "list" {
			at = "image[name=app]"
		}
		values := []Value{
			{File: valuesFile, Path: at + ".tag", Container: "app", Part: PartTag},
			{File: valuesFile, Path: at + ".level", Field: "spec.containers[name=app].env[name=LEVEL].value"},
		}
		good := state{tag: 1, level: 1}
		others := func(s state, label string) state {
			s.other += rapid.IntRange(0, 2).Draw(t, label+" other")
			s.comment += rapid.IntRange(0, 2).Draw(t, label+" comment")
			return s
		}
		bad := others(good, "with")
		bad.tag += rapid.IntRange(1, 3).Draw(t, "tag")
		bad.level += rapid.IntRange(0, 3).Draw(t, "level")
		head := others(bad, "after")
		in := Input{Workload: checkout, Values: values, Known: map[string]map[string]any{},
			Good: tree.FromMap(map[string]string{valuesFile: file(good)}), Bad: tree.FromMap(map[string]string{valuesFile: file(bad)}),
			Head: tree.FromMap(map[string]string{valuesFile: file(head)})}
		for _, side := range []struct {
			state
			revision *string
		}{{good, &in.GoodRevision}, {bad, &in.BadRevision}} {
			hash, content := randomTemplate(side.tag, side.level)
			*side.revision, in.Known[hash] = hash, content
		}
		result, err := Compose(in)
		if err != nil || result.Outcome != Changes {
			t.Fatalf("%v, %s: %s\n%s", err, result.Outcome, result.Why, file(head))
		}
		want := head
		want.tag, want.level = good.tag, good.level
		if diff := cmp.Diff(file(want), string(*result.Changes[valuesFile])); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func randomTemplate(tag, level int) (string, map[string]any) {
	content := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{
		"name": "app", "image": fmt.Sprintf("x:1.%d", tag), "env": []any{map[string]any{"name": "LEVEL", "value": fmt.Sprintf("l%d", level)}},
	}}}}
	hash, err := revision.HashMap(content)
	if err != nil {
		panic(err)
	}
	return hash, content
}

func TestPathsOfValues(t *testing.T) {
	for text, want := range map[string]string{
		"image.tag": "image.tag", ".a[0].b": "a[0].b", `list[name="x.y"].v`: "list[name=x.y].v", `labels["a.b/c"]`: `labels["a.b/c"]`, `["a.b"].c`: `["a.b"].c`,
		`a["]"]`: `a["]"]`, `a["x\"y"]`: `a["x\"y"]`, `a[n="]"]`: `a[n="]"]`, `a[""]`: "", `a["x"y]`: "", `a["x]`: "", `a["n"=x]`: "",
		"": "", "a..b": "", "a[": "", "a[x]": "", "a[=x]": "", "a[-1]": "", "a.": "", "a[0]b": "", strings.Repeat("a.", maxSteps) + "a": "",
	} {
		steps, err := parseSteps(text)
		if got := stepsText(steps); got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

func TestPartsOfImages(t *testing.T) {
	for image, want := range map[string][3]string{
		"x": {"x", "", ""}, "h:5000/a/b": {"h:5000/a/b", "", ""}, "h:5000/a:1@sha256:ff": {"h:5000/a", "1", "sha256:ff"}, "a@sha256:ff": {"a", "", "sha256:ff"},
	} {
		for i, part := range []Part{PartName, PartTag, PartDigest} {
			if got := part.of(image); got != want[i] || part.into(image, got) != image {
				t.Errorf("%s of %s is %q, back %q", part, image, got, part.into(image, got))
			}
		}
		if got := PartImage.into("y", PartImage.of(image)); got != image {
			t.Errorf("image %s is %s", image, got)
		}
	}
}

func FuzzPathsOfValues(f *testing.F) {
	f.Add(`a[0].b["c"][x=y]`)
	f.Add(`a["]"][x="]"]["a\"b\\"]`)
	f.Fuzz(func(t *testing.T, text string) {
		if steps, err := parseSteps(text); err == nil {
			again, err := parseSteps(stepsText(steps))
			if err != nil || !slices.Equal(again, steps) {
				t.Errorf("%q reads as %q, which reads as %q, %v", text, stepsText(steps), stepsText(again), err)
			}
		}
	})
}
