package prometheus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/common/model"
)

// ErrNoData says that the query gave no series.
var ErrNoData = errors.New("the query gives no data")

// ResultError says that a query gave something other than one number.
type ResultError struct {
	// Type of the result: vector, matrix, string, or histogram for one series of histograms.
	Type string
	// Series in the result.
	Series int
}

// Error implements error.
func (e *ResultError) Error() string {
	if e.Series > 1 {
		return fmt.Sprintf("the query gives %d series where one number is needed: aggregate them, for example with sum() or max()", e.Series)
	}
	return fmt.Sprintf("the query gives a %s where one number is needed", e.Type)
}

// QueryError says that the server refuses the query.
type QueryError struct {
	Host, Text string
}

// Error implements error.
func (e *QueryError) Error() string {
	return fmt.Sprintf("Prometheus at %s refuses the query: %s", e.Host, e.Text)
}

// AddressError says what is wrong with an address, without repeating it.
type AddressError struct {
	Reason string
}

// Error implements error.
func (e *AddressError) Error() string { return "the address of Prometheus is not valid: " + e.Reason }

// number is the one number of a result.
func number(v model.Value) (float64, error) {
	switch r := v.(type) {
	case *model.Scalar:
		if r == nil {
			return 0, &ResultError{Type: "result without a value"}
		}
		return float64(r.Value), nil
	case model.Vector:
		return single(r)
	case nil:
		return 0, &ResultError{Type: "result without a type"}
	default:
		return 0, &ResultError{Type: v.Type().String()}
	}
}

func single(v model.Vector) (float64, error) {
	switch {
	case len(v) == 0:
		return 0, ErrNoData
	case len(v) > 1:
		return 0, &ResultError{Type: model.ValVector.String(), Series: len(v)}
	case v[0] == nil:
		return 0, &ResultError{Type: "series without a value", Series: 1}
	case v[0].Histogram != nil:
		return 0, &ResultError{Type: "histogram", Series: 1}
	default:
		return float64(v[0].Value), nil
	}
}

// clip makes one line of s, of a bounded length.
func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > maxErrorText {
		return string(r[:maxErrorText-1]) + "…"
	}
	return s
}
