package v1alpha1

import (
	"fmt"
	"strings"
)

// Match selects requests. All of its parts must match; of methods, one. It adds to what a rule of the route matches.
//
// +kubebuilder:validation:XValidation:rule="has(self.headers) || has(self.queryParams) || has(self.methods)",message="match needs headers, queryParams or methods"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || self.headers.all(h, self.headers.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))",message="headers: every name may occur once, whatever its case"
type Match struct {
	// headers that a request must carry. Names are compared without regard to case.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Headers []ValueMatch `json:"headers,omitempty"`
	// queryParams that a request must carry.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	QueryParams []ValueMatch `json:"queryParams,omitempty"`
	// methods of which a request must have one. Unset: any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Methods []Method `json:"methods,omitempty"`
}

// Mirror sends copies of requests to the canary, beside where they go. Its answers are thrown away.
type Mirror struct {
	// percent of the requests that are copied.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// unsafeMethods Refuse copies requests with GET, HEAD or OPTIONS only. Allow copies all requests: whatever they do, an
	// order, a payment, a mail, is done twice. Default Refuse.
	// +optional
	// +kubebuilder:default=Refuse
	UnsafeMethods Consent `json:"unsafeMethods,omitempty"`
}

// SafeMethods are those that only read, and so can be done twice.
var SafeMethods = []Method{"GET", "HEAD", "OPTIONS"}

// Consent allows something that can do harm.
// +kubebuilder:validation:Enum=Allow;Refuse
type Consent string

// Values of Consent.
const (
	ConsentAllow  Consent = "Allow"
	ConsentRefuse Consent = "Refuse"
)

// String is the mirror in words.
func (m *Mirror) String() string {
	what := "requests with GET, HEAD or OPTIONS"
	if m.UnsafeMethods == ConsentAllow {
		what = "requests"
	}
	return fmt.Sprintf("copies of %d %% of the %s", m.Percent, what)
}

// Method of an HTTP request.
// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT;DELETE;CONNECT;OPTIONS;TRACE;PATCH
type Method string

// ValueMatch selects requests by a header or a query parameter.
type ValueMatch struct {
	// name of the header or parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	Name string `json:"name"`
	// value that it must have.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value"`
	// type of the comparison: Exact, or RegularExpression in the gateway's own dialect. Default Exact.
	// +optional
	// +kubebuilder:default=Exact
	Type MatchType `json:"type,omitempty"`
}

// MatchType is how a value is compared.
// +kubebuilder:validation:Enum=Exact;RegularExpression
type MatchType string

// Values of MatchType.
const (
	MatchExact             MatchType = "Exact"
	MatchRegularExpression MatchType = "RegularExpression"
)

// String is the match in words.
func (m *Match) String() string {
	var parts []string
	for _, h := range m.Headers {
		parts = append(parts, "header "+h.text())
	}
	for _, q := range m.QueryParams {
		parts = append(parts, "query parameter "+q.text())
	}
	var methods []string
	for _, method := range m.Methods {
		methods = append(methods, string(method))
	}
	if len(methods) > 0 {
		parts = append(parts, "method "+strings.Join(methods, " or "))
	}
	return strings.Join(parts, ", ")
}

func (v ValueMatch) text() string {
	if v.Type == MatchRegularExpression {
		return v.Name + "~" + v.Value
	}
	return v.Name + "=" + v.Value
}
