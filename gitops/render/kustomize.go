package render

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/belay-delivery/belay/gitops/tree"
)

// builds run one at a time: kustomize keeps its OpenAPI schema in a global.
var builds sync.Mutex

const originAnnotation = "config.kubernetes.io/origin"

func kustomizationFile(t tree.Tree, dir string) (string, bool, error) {
	var found []string
	for _, base := range konfig.RecognizedKustomizationFileNames() {
		name := path.Join(dir, base)
		if _, exists := t.BlobID(name); exists {
			found = append(found, name)
		}
	}
	if len(found) > 1 {
		return "", false, fmt.Errorf("folder holds both %s and %s", found[0], found[1])
	}
	if len(found) == 0 {
		return "", false, nil
	}
	return found[0], true, nil
}

func renderKustomize(t tree.Tree, dir string) ([]Object, error) {
	reached := newReach(t)
	if err := reached.folder(dir, ""); err != nil {
		return nil, err
	}
	root, _, err := kustomizationFile(t, dir)
	if err != nil {
		return nil, err
	}
	traced, wanted, err := withOrigins(reached.files[root])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", root, NotYAML(err))
	}
	reached.files[root] = traced
	memory := filesys.MakeFsInMemory()
	for name, content := range reached.files {
		if err := memory.WriteFile("/"+name, content); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", name, err)
		}
	}
	built, err := runKustomize(memory, "/"+dir)
	if err != nil {
		return nil, reached.notBuilt(root, err)
	}
	if built.Size() > MaxObjects {
		return nil, fmt.Errorf("building %s: %d objects: %w", root, built.Size(), tree.ErrTooLarge)
	}
	objects := make([]Object, 0, built.Size())
	size := 0
	for _, res := range built.Resources() {
		object, err := fromResource(res, dir, root, &size)
		if size > MaxBytes {
			return nil, fmt.Errorf("building %s: it is more than %d MiB of objects; split it into several Syncs: %w", root, MaxBytes>>20, tree.ErrTooLarge)
		}
		if err != nil {
			return nil, reached.notBuilt(root, err)
		}
		if !wanted {
			dropAnnotation(object.Unstructured)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// runKustomize builds; a panic in the library, which sees untrusted input, is an
// error like any other.
func runKustomize(files filesys.FileSystem, dir string) (built resmap.ResMap, err error) {
	builds.Lock()
	defer builds.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("kustomize gave up: %v", cause)
		}
	}()
	return krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
}

// withOrigins asks kustomize to note origins, in our copy of the file only, and
// says whether the file already asked for them.
func withOrigins(content []byte) ([]byte, bool, error) {
	var fields map[string]any
	if err := yaml.Unmarshal(content, &fields); err != nil {
		return nil, false, err
	}
	existing, _ := fields["buildMetadata"].([]any)
	if slices.Contains(existing, any(types.OriginAnnotations)) {
		return content, true, nil
	}
	if fields == nil {
		fields = map[string]any{}
	}
	fields["buildMetadata"] = append(existing, types.OriginAnnotations)
	traced, err := yaml.Marshal(fields)
	return traced, false, err
}

// fromResource adds the size of the object to size.
func fromResource(res *resource.Resource, dir, root string, size *int) (Object, error) {
	raw, err := res.MarshalJSON()
	if err != nil {
		return Object{}, err
	}
	*size += len(raw)
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return Object{}, errNoKind
	}
	if object.GetName() == "" {
		return Object{}, fmt.Errorf("kind %q: metadata.name is missing", object.GetKind())
	}
	origin, err := res.GetOrigin()
	if err != nil {
		return Object{}, fmt.Errorf("reading origin of %s: %w", object.GetName(), err)
	}
	file := root
	switch {
	case origin != nil && origin.Path != "":
		file = path.Join(dir, origin.Path)
	case origin != nil && origin.ConfiguredIn != "":
		file = path.Join(dir, origin.ConfiguredIn)
	}
	return Object{Unstructured: object, Origin: Origin{File: file, Doc: -1}}, nil
}

func dropAnnotation(object *unstructured.Unstructured) {
	annotations := object.GetAnnotations()
	if _, found := annotations[originAnnotation]; !found {
		return
	}
	delete(annotations, originAnnotation)
	if len(annotations) == 0 {
		annotations = nil
	}
	object.SetAnnotations(annotations)
}

// maxSearched is how many files are looked through for kustomizations.
const maxSearched = 100_000

// IsKustomization says whether a file is one by its name.
func IsKustomization(name string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name))
}

// Kustomizations returns the folders of a tree that have a kustomization, each once; the root is "".
func Kustomizations(t tree.Tree) ([]string, error) {
	found := map[string]bool{}
	err := tree.Walk(t, "", maxSearched, func(name string, _ tree.Entry) error {
		if dir, err := tree.Clean(path.Dir(name)); err == nil && IsKustomization(name) {
			found[dir] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for kustomizations: %w", err)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Reached returns the files that building a kustomization folder reads, by
// path, after the checks of Render.
func Reached(t tree.Tree, dir string) ([]string, error) {
	reached := newReach(t)
	if err := reached.folder(dir, ""); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(reached.files))
	for name := range reached.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// reach collects what a kustomization reads, and refuses what it may not.
type reach struct {
	tree    tree.Tree
	files   map[string][]byte
	visited map[string]bool
	// spent is what has been read so far, and costs what each folder takes with all that it reaches: a folder that is used again is
	// built again.
	spent spent
	costs map[string]spent
}

func newReach(t tree.Tree) *reach {
	return &reach{tree: t, files: map[string][]byte{}, visited: map[string]bool{}, costs: map[string]spent{}}
}

// How the values of a kustomization's fields name files; in lower case, because
// kustomize decodes field names whatever their case.
var (
	// manifests are lists of files, folders or inline YAML.
	manifests = []string{"resources", "components", "bases", "crds", "configurations",
		"generators", "transformers", "validators", "patchesstrategicmerge"}
	// plugins are manifests whose own fields kustomize follows as well.
	plugins = []string{"generators", "transformers", "validators"}
	// refused are fields that run or download something.
	refused = []string{"helmcharts", "helmchartinflationgenerator", "helmglobals"}
)

func (r *reach) folder(dir, from string) error {
	if r.visited[dir] {
		return r.spent.add(r.costs[dir], dir) // none while it is being read: a circle, which kustomize refuses
	}
	r.visited[dir] = true
	before := r.spent
	defer func() { r.costs[dir] = r.spent.minus(before) }()
	name, found, err := kustomizationFile(r.tree, dir)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("reading %s: folder %q has no kustomization", from, dir)
	}
	content, err := r.add(name)
	if err != nil {
		return err
	}
	documents, err := r.spent.documents(name, content)
	if err != nil {
		return err
	}
	if len(documents) != 1 || len(documents[0].Content) == 0 {
		return fmt.Errorf("reading %s: not a kustomization of one document", name)
	}
	return r.fields(documents[0].Content[0], name)
}

// add puts a file of the tree among those kustomize will see.
func (r *reach) add(name string) ([]byte, error) {
	if content, seen := r.files[name]; seen {
		return content, nil
	}
	if len(r.files) >= MaxFiles {
		return nil, fmt.Errorf("reading %s: number of files: %w", name, tree.ErrTooLarge)
	}
	content, err := r.tree.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r.files[name] = content
	return content, nil
}

func (r *reach) fields(node *yaml.Node, file string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("reading %s: not a kustomization", file)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if err := r.field(node.Content[i], resolve(node.Content[i+1]), file); err != nil {
			return err
		}
	}
	return nil
}

func (r *reach) field(name, value *yaml.Node, file string) error {
	key := strings.ToLower(name.Value)
	plugin := slices.Contains(plugins, key)
	// A list of strings under patches is the old form of patchesStrategicMerge.
	paths := slices.Contains(manifests, key) ||
		key == "patches" && len(value.Content) > 0 && resolve(value.Content[0]).Kind == yaml.ScalarNode
	switch {
	case slices.Contains(refused, key):
		return fmt.Errorf("%s: line %d: %s: helm is not run: %w", file, name.Line, name.Value, ErrRefused)
	case key == "<<":
		return fmt.Errorf("%s: line %d: merge keys at the top of a kustomization: %w", file, name.Line, ErrRefused)
	case key == "secretgenerator":
		if err := literals(value, file); err != nil {
			return err
		}
	}
	if !paths {
		return r.values(value, file, key)
	}
	for _, item := range value.Content {
		if err := r.manifest(resolve(item), file, plugin); err != nil {
			return err
		}
	}
	return nil
}

// manifest follows one entry of a list of files, folders or inline YAML.
func (r *reach) manifest(item *yaml.Node, file string, plugin bool) error {
	if item.Kind != yaml.ScalarNode {
		return fmt.Errorf("%s: line %d: not a string", file, item.Line)
	}
	if strings.Contains(item.Value, "\n") {
		return r.content(file, []byte(item.Value), plugin)
	}
	name, err := r.local(item.Value, file, item.Line)
	if err != nil {
		return err
	}
	if tree.IsDir(r.tree, name) {
		if new(resource.Origin).Append(item.Value).Repo != "" {
			return fmt.Errorf("%s: line %d: %q reads as a remote repository: %w", file, item.Line, item.Value, ErrRefused)
		}
		return r.folder(name, file)
	}
	content, err := r.add(name)
	if err != nil {
		return fmt.Errorf("%s: line %d: %w", file, item.Line, err)
	}
	return r.content(name, content, plugin)
}

// content checks a manifest for size, and follows what a plugin's names.
func (r *reach) content(name string, content []byte, plugin bool) error {
	documents, err := r.spent.documents(name, content)
	if err != nil || !plugin {
		return err
	}
	for _, document := range documents {
		for _, node := range document.Content {
			if err := r.values(node, name, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// values looks for the fields path, files, envs, env and the like anywhere in a
// value, and for functions that would run.
func (r *reach) values(node *yaml.Node, file, key string) error {
	node = resolve(node)
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := r.values(node.Content[i+1], file, node.Content[i].Value); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			if err := r.values(item, file, key); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		return r.value(node, file, key)
	}
	return nil
}

func (r *reach) value(node *yaml.Node, file, key string) error {
	key = strings.ToLower(key)
	switch key {
	case "config.kubernetes.io/function", "config.k8s.io/function":
		return fmt.Errorf("%s: line %d: functions are not run: %w", file, node.Line, ErrRefused)
	case "path", "paths", "files", "envs", "env", "additionalconfigs":
	default:
		if strings.Contains(node.Value, "\n") && strings.Contains(node.Value, "&") { // an inline patch, with anchors
			return r.content(file, []byte(node.Value), false)
		}
		return nil
	}
	value := node.Value
	if key == "files" {
		if _, after, found := strings.Cut(value, "="); found {
			value = after
		}
	}
	if (key == "path" || key == "paths") && (strings.Contains(value, "\n") || strings.HasPrefix(value, "/")) {
		return nil // inline YAML, or the JSON pointer of an inline patch
	}
	name, err := r.local(value, file, node.Line)
	if err != nil {
		return err
	}
	if _, exists := r.tree.BlobID(name); !exists {
		return nil // field paths look alike; kustomize names a file that is really missing
	}
	content, err := r.add(name)
	if err != nil {
		return err
	}
	if key == "files" || key == "env" || key == "envs" {
		return r.spent.add(spent{bytes: len(content)}, name)
	}
	return r.content(name, content, false)
}

// local resolves a path against the file that names it; only the tree counts.
func (r *reach) local(value, file string, line int) (string, error) {
	if strings.Contains(value, "://") || strings.HasPrefix(value, "git@") {
		return "", fmt.Errorf("%s: line %d: %q is remote: %w", file, line, value, ErrRefused)
	}
	name, err := tree.Clean(path.Join(path.Dir(file), value))
	if err != nil || path.IsAbs(value) {
		return "", fmt.Errorf("%s: line %d: %q is outside the repository: %w", file, line, value, ErrRefused)
	}
	return name, nil
}

func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}
