package lint

import (
	"context"
	"fmt"
	"io/fs"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	schemaobjectmeta "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// kindSchema is what the API server derives from one version of a CustomResourceDefinition.
type kindSchema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
	status     bool
	props      *apiextensionsv1.JSONSchemaProps
}

// Schemas validates objects as an API server would that has the same CustomResourceDefinitions.
type Schemas struct {
	kinds map[schema.GroupVersionKind]*kindSchema
}

// LoadSchemas reads every CustomResourceDefinition in the root of files.
func LoadSchemas(files fs.FS) (*Schemas, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing CRDs: %w", err)
	}
	out := &Schemas{kinds: map[schema.GroupVersionKind]*kindSchema{}}
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading CRD %s: %w", name, err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(raw, definition); err != nil {
			return nil, fmt.Errorf("decoding CRD %s: %w", name, err)
		}
		if err := out.add(definition); err != nil {
			return nil, fmt.Errorf("compiling CRD %s: %w", name, err)
		}
	}
	return out, nil
}

func (s *Schemas) add(definition *apiextensionsv1.CustomResourceDefinition) error {
	for i := range definition.Spec.Versions {
		v := &definition.Spec.Versions[i]
		if !v.Served || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		compiled, err := compile(v.Schema.OpenAPIV3Schema)
		if err != nil {
			return err
		}
		compiled.status = v.Subresources != nil && v.Subresources.Status != nil
		gvk := schema.GroupVersionKind{Group: definition.Spec.Group, Version: v.Name, Kind: definition.Spec.Names.Kind}
		s.kinds[gvk] = compiled
	}
	return nil
}

func compile(props *apiextensionsv1.JSONSchemaProps) (*kindSchema, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props.DeepCopy(), internal, nil); err != nil {
		return nil, fmt.Errorf("converting schema: %w", err)
	}
	structural, err := structuralschema.NewStructural(internal)
	if err != nil {
		return nil, fmt.Errorf("making structural schema: %w", err)
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return nil, fmt.Errorf("making schema validator: %w", err)
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	return &kindSchema{structural: structural, validator: validator, rules: rules, props: props}, nil
}

// Kinds lists the kinds that are known, sorted.
func (s *Schemas) Kinds() []schema.GroupVersionKind {
	out := make([]schema.GroupVersionKind, 0, len(s.kinds))
	for gvk := range s.kinds {
		out = append(out, gvk)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	return out
}

// Result is what validation says of one object.
type Result struct {
	// Object with defaults filled in and unknown fields taken out.
	Object map[string]any
	// Unknown are the paths of fields that the schema does not have.
	Unknown []string
	// Errors are what the API server would refuse the object for, besides unknown fields.
	Errors field.ErrorList
}

// Validate checks obj as the API server does: as a creation where old is nil, else as an update of old. Neither object
// is changed. The kind must be one of Kinds.
func (s *Schemas) Validate(ctx context.Context, obj, old map[string]any) (Result, error) {
	gvk := (&unstructured.Unstructured{Object: obj}).GroupVersionKind()
	kind, ok := s.kinds[gvk]
	if !ok {
		return Result{}, fmt.Errorf("validating %s: this kind is not known", gvk)
	}
	res := Result{}
	res.Object, res.Unknown = kind.admit(obj)
	if old == nil && kind.status {
		delete(res.Object, "status") // a creation cannot set it
	}
	res.Errors = append(res.Errors, validateMeta(res.Object)...)
	if old == nil {
		res.Errors = append(res.Errors, validation.ValidateCustomResource(nil, res.Object, kind.validator)...)
	} else {
		old, _ = kind.admit(old)
		res.Errors = append(res.Errors, validation.ValidateCustomResourceUpdate(nil, res.Object, old, kind.validator)...)
	}
	res.Errors = append(res.Errors, schemaobjectmeta.Validate(ctx, nil, res.Object, kind.structural, false)...)
	res.Errors = append(res.Errors, listtype.ValidateListSetsAndMaps(nil, kind.structural, res.Object)...)
	if kind.rules == nil || blocksRules(res.Errors) {
		return res, nil
	}
	var oldValue any
	if old != nil {
		oldValue = old
	}
	broken, _ := kind.rules.Validate(ctx, nil, kind.structural, res.Object, oldValue, celconfig.RuntimeCELCostBudget)
	res.Errors = append(res.Errors, broken...)
	return res, nil
}

// admit does to a copy of obj what decoding in the API server does: drop nulls, default, prune.
func (k *kindSchema) admit(obj map[string]any) (map[string]any, []string) {
	obj = runtime.DeepCopyJSON(obj)
	apiVersion, kind := obj["apiVersion"], obj["kind"]
	metadata, hasMetadata := obj["metadata"]
	defaulting.PruneNonNullableNullsWithoutDefaults(obj, k.structural)
	defaulting.Default(obj, k.structural)
	unknown := pruning.PruneWithOptions(obj, k.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	obj["apiVersion"], obj["kind"] = apiVersion, kind
	if hasMetadata {
		obj["metadata"] = metadata
	}
	sort.Strings(unknown)
	return obj, unknown
}

// validateMeta checks metadata. Without a namespace the object gets that of the kubeconfig, so that is not missing.
func validateMeta(obj map[string]any) field.ErrorList {
	path := field.NewPath("metadata")
	raw, _ := obj["metadata"].(map[string]any)
	meta := &metav1.ObjectMeta{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(raw, meta, true); err != nil {
		return field.ErrorList{field.Invalid(path, nil, err.Error())}
	}
	if meta.Namespace == "" {
		meta.Namespace = metav1.NamespaceDefault
	}
	if meta.Name == "" && meta.GenerateName != "" {
		meta.Name = meta.GenerateName + "x7k2p" // stands for what the API server adds
	}
	return metavalidation.ValidateObjectMeta(meta, true, metavalidation.NameIsDNSSubdomain, path)
}

// blocksRules says whether the API server leaves CEL rules out because of errors before them.
func blocksRules(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}
