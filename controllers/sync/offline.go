package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/belay-delivery/belay/internal/lint"
)

// strict decodes built-in kinds as the API server does: a field that is not known, or given twice, is an error.
var strict = kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, clientgoscheme.Scheme, clientgoscheme.Scheme, kjson.SerializerOptions{Strict: true})

// checkOffline judges what the API server cannot try yet, because its kind or its namespace comes with the same bundle:
// by the definition in the bundle or the built-in type, and by the account's rights.
func (r *Reconciler) checkOffline(ctx context.Context, cluster tenant, items []*Item) error {
	news := newsOf(items)
	var definitions []*unstructured.Unstructured
	plurals := map[schema.GroupKind]string{}
	for _, item := range items {
		if kind, ok := defines(item.Desired); ok {
			definitions = append(definitions, item.Desired)
			plurals[kind], _, _ = unstructured.NestedString(item.Desired.Object, "spec", "names", "plural")
		}
	}
	grants := grantsRights(items)
	var schemas *lint.Schemas
	for _, item := range items {
		if item.Fault == nil || item.Fault.Final || !news.exempt(item) {
			continue
		}
		if schemas == nil {
			made, err := lint.SchemasOf(definitions)
			if err != nil {
				return &failure{reason: ReasonDenied, stalled: true, message: "nothing was changed: " + err.Error(), cause: err}
			}
			schemas = made
		}
		if message := wellFormed(ctx, schemas, item.Desired); message != "" {
			item.Fault = &Fault{Message: message, Denied: true, Final: true}
			continue
		}
		resource := plurals[item.Desired.GroupVersionKind().GroupKind()]
		if resource == "" {
			mapping, err := r.Client.RESTMapper().RESTMapping(item.Desired.GroupVersionKind().GroupKind())
			if err != nil {
				return fmt.Errorf("looking up kind %s: %w", item.Entry.Kind, err)
			}
			resource = mapping.Resource.Resource
		}
		if err := cluster.mayApply(ctx, item, resource, grants); err != nil {
			return err
		}
	}
	return nil
}

// wellFormed says what is wrong with an object, or nothing.
func wellFormed(ctx context.Context, schemas *lint.Schemas, u *unstructured.Unstructured) string {
	if wrong := wrongSecret(u); wrong != nil {
		return wrong.Message
	}
	if schemas.Knows(u.GroupVersionKind()) {
		result, err := schemas.Validate(ctx, u.Object, nil)
		if err != nil {
			return err.Error()
		}
		var wrong []string
		for _, path := range result.Unknown {
			wrong = append(wrong, fmt.Sprintf("unknown field %q", path))
		}
		for _, e := range result.Errors {
			wrong = append(wrong, e.Error())
		}
		return strings.Join(wrong, "; ")
	}
	if !clientgoscheme.Scheme.Recognizes(u.GroupVersionKind()) {
		return ""
	}
	raw, err := json.Marshal(u.Object)
	if err != nil {
		return err.Error()
	}
	if _, _, err := strict.Decode(raw, nil, nil); err != nil {
		if isSecret(entryOf(u)) {
			return "a field of it is not known, or not of its type; which one is not shown, since the words may repeat a value (kubectl apply --server-side --dry-run=server tells you)"
		}
		if problem, ok := runtime.AsStrictDecodingError(err); ok {
			return problem.Error()
		}
		return err.Error()
	}
	return ""
}

// mayApply asks whether the account may create and patch objects of the kind there. Where the bundle brings bindings of
// roles, a right that is missing now may come with them.
func (t tenant) mayApply(ctx context.Context, item *Item, resource string, grants bool) error {
	for _, verb := range []string{"patch", "create"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: item.Entry.Namespace, Verb: verb,
				Group: item.Entry.Group, Version: item.Entry.Version, Resource: resource, Name: item.Entry.Name}}}
		if err := t.client.Create(ctx, review); err != nil {
			return fmt.Errorf("asking for the right to %s %s: %w", verb, name(item.Entry), err)
		}
		if review.Status.Allowed || grants {
			continue
		}
		item.Fault = &Fault{Denied: true, Final: true, Message: fmt.Sprintf("%s may not %s %s in namespace %q, which comes with this bundle",
			t.account, verb, schema.GroupResource{Group: item.Entry.Group, Resource: resource}, item.Entry.Namespace)}
		return nil
	}
	return nil
}

// grantsRights says whether a bundle changes who may do what.
func grantsRights(items []*Item) bool {
	for _, item := range items {
		if item.Entry.Group == "rbac.authorization.k8s.io" && differs(item) {
			return true
		}
	}
	return false
}
