package lint

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Run checks all objects of the sources, alone and against each other.
func Run(ctx context.Context, schemas *Schemas, sources []Source) (Report, error) {
	docs, findings, report, err := read(ctx, schemas, sources)
	if err != nil {
		return report, err
	}
	report.finish(append(findings, checkTogether(docs)...))
	return report, nil
}

// read parses the sources and checks each object alone.
func read(ctx context.Context, schemas *Schemas, sources []Source) ([]*document, []Finding, Report, error) {
	report := Report{APIVersion: "cli.belay.dev/v1alpha1", Kind: "LintReport", Files: len(sources)}
	var docs []*document
	var findings []Finding
	for _, src := range sources {
		more, problems := parse(src)
		docs, findings = append(docs, more...), append(findings, problems...)
	}
	for _, doc := range docs {
		if doc.gvk().Group != v1alpha1.Group {
			continue
		}
		report.Checked++
		problems, err := schemas.check(ctx, doc)
		if err != nil {
			return nil, nil, Report{}, err
		}
		findings = append(findings, problems...)
	}
	return docs, findings, report, nil
}

// check validates one of Belay's objects against its schema.
func (s *Schemas) check(ctx context.Context, doc *document) ([]Finding, error) {
	gvk := doc.gvk()
	kind, ok := s.kinds[gvk]
	if !ok {
		doc.invalid = true
		path, what := s.unknownKind(gvk)
		return []Finding{doc.finding(path, SeverityError, what, "known are: "+s.known())}, nil
	}
	res, err := s.Validate(ctx, doc.object.Object, nil)
	if err != nil {
		return nil, fmt.Errorf("checking %s: %w", doc.file, err)
	}
	doc.defaulted = res.Object
	var out []Finding
	for _, path := range res.Unknown {
		out = append(out, doc.finding(path, SeverityError, "this field is not known", kind.suggest(path)))
	}
	for _, e := range res.Errors {
		out = append(out, doc.finding(trimPath(e), SeverityError, e.ErrorBody(), kind.remedy(e)))
	}
	doc.invalid = len(res.Errors) > 0
	return out, nil
}

func trimPath(e *field.Error) string {
	if e.Field == "<nil>" {
		return ""
	}
	return e.Field
}

func (s *Schemas) unknownKind(gvk schema.GroupVersionKind) (path, message string) {
	for known := range s.kinds {
		if known.Kind == gvk.Kind {
			return "apiVersion", fmt.Sprintf("%s has no version %s", gvk.Kind, gvk.GroupVersion())
		}
	}
	return "kind", fmt.Sprintf("%s has no kind %s", gvk.GroupVersion(), gvk.Kind)
}

func (s *Schemas) known() string {
	var out []string
	for _, gvk := range s.Kinds() {
		out = append(out, gvk.GroupVersion().String()+" "+gvk.Kind)
	}
	return strings.Join(out, ", ")
}

func (d *document) finding(path string, severity Severity, message, remedy string) Finding {
	name := d.object.GetName()
	if name == "" && d.object.GetGenerateName() != "" {
		name = d.object.GetGenerateName() + "…"
	}
	return Finding{File: d.file, Line: lineOf(d.node, path), Kind: d.object.GetKind(), Namespace: d.object.GetNamespace(),
		Name: name, Field: path, Severity: severity, Message: message, Remedy: remedy}
}

func (d *document) errorf(path, remedy, format string, args ...any) Finding {
	return d.finding(path, SeverityError, fmt.Sprintf(format, args...), remedy)
}

func (d *document) warnf(path, remedy, format string, args ...any) Finding {
	return d.finding(path, SeverityWarning, fmt.Sprintf(format, args...), remedy)
}
