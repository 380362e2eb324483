package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity of a finding.
type Severity string

// The severities.
const (
	// SeverityError is what the API server or the controller would refuse.
	SeverityError Severity = "Error"
	// SeverityWarning is what is allowed, and likely not meant.
	SeverityWarning Severity = "Warning"
)

// Finding is one thing that is wrong, where it is, and what would be right.
type Finding struct {
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Kind      string   `json:"kind,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name,omitempty"`
	Field     string   `json:"field,omitempty"`
	Severity  Severity `json:"severity"`
	Message   string   `json:"message"`
	Remedy    string   `json:"remedy,omitempty"`
}

// String is "file:line: kind/name: field: what is wrong; what would be right".
func (f Finding) String() string {
	parts := []string{fmt.Sprintf("%s:%d", f.File, f.Line)}
	if f.Kind != "" {
		parts = append(parts, f.Kind+"/"+f.Name)
	}
	if f.Field != "" {
		parts = append(parts, f.Field)
	}
	if f.Severity == SeverityWarning {
		parts = append(parts, "warning")
	}
	text := f.Message
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return strings.Join(append(parts, text), ": ")
}

// Report is all that was found.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Files that were read.
	Files int `json:"files"`
	// Checked are the objects of Belay's kinds that were found.
	Checked  int       `json:"checked"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
}

func (r *Report) finish(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	r.Findings = slices.Compact(findings)
	for _, f := range r.Findings {
		if f.Severity == SeverityError {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
}
