package condition

import (
	"context"
	"strings"
	"testing"
)

func answer(status int, body string) *Answer {
	return &Answer{Status: status, Body: []byte(body), Headers: map[string]string{"x-state": "fine"}}
}

func TestTrue(t *testing.T) {
	args := map[string]string{"limit": "0.5"}
	for name, tc := range map[string]struct {
		expression string
		value      float64
		answer     *Answer
		want       bool
		err        string
	}{
		"a value":                    {expression: "value < 0.01 || value == 1.0", value: 1, want: true},
		"a value and a whole number": {expression: "value > 1", value: 0.5},
		"an argument":                {expression: "value < double(args.limit)", value: 0.4, want: true},
		"an argument that is none":   {expression: "args.most == ''", err: "no such key"},
		"status and JSON":            {expression: `status == 200 && json.state == "ok"`, answer: answer(200, `{"state":"ok"}`), want: true},
		"a number in JSON":           {expression: `json.errors[0].count <= 3`, answer: answer(200, `{"errors":[{"count":3}]}`), want: true},
		"all of a list":              {expression: `json.all(x, x < 2)`, answer: answer(200, `[1,2]`)},
		"a field that may be there":  {expression: `json.?state.orValue("ok") == "ok"`, answer: answer(200, `{}`), want: true},
		"a field that is not there":  {expression: `json.state == "ok"`, answer: answer(200, `{}`), err: "no such key: state"},
		"a header and the body":      {expression: `headers["x-state"] == "fine" && body.contains("yes")`, answer: answer(200, `yes`), want: true},
		"no JSON":                    {expression: `json.state == "ok"`, answer: answer(200, `<html>`), err: "the answer is not JSON"},
		"no JSON, and none asked":    {expression: `status == 200`, answer: answer(200, `<html>`), want: true},
		"no bool":                    {expression: `json.state`, answer: answer(200, `{"state":"ok"}`), err: "the expression gives a string, and must give bool"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := OfValue(tc.expression)
			if tc.answer != nil {
				p, err = OfAnswer(tc.expression, false)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.True(t.Context(), Input{Value: tc.value, Args: args, Answer: tc.answer})
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, %v: want %v, error with %q", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for expression, tc := range map[string]struct {
		want  float64
		there bool
		err   string
	}{
		`json.rate`:                       {want: 0.25, there: true},
		`double(json.text)`:               {want: 7, there: true},
		`status`:                          {want: 200, there: true},
		`size(json.list)`:                 {want: 3, there: true},
		`json.nothing`:                    {},
		`has(json.no) ? json.no : null`:   {},
		`json.list`:                       {err: "the expression gives a list, a map, or the like, and must give a number or null"},
		`json.word`:                       {err: "the expression gives a string"},
		`json.no`:                         {err: "no such key: no"},
		`math.greatest(json.rate, 1)`:     {want: 1, there: true},
		`json.rate / double(json.zero-0)`: {err: "no such overload"},
	} {
		t.Run(expression, func(t *testing.T) {
			p, err := Reading(expression)
			if err != nil {
				t.Fatal(err)
			}
			got, there, err := p.Number(t.Context(), Input{Answer: answer(200, `{"rate":0.25,"text":"7","list":[1,2,3],"nothing":null,"word":"w","zero":0}`)})
			if got != tc.want || there != tc.there || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, %v, %v: want %v, %v, error with %q", got, there, err, tc.want, tc.there, tc.err)
			}
		})
	}
}

// TestWhatDoesNotCompile: the error says what is wrong, and where.
func TestWhatDoesNotCompile(t *testing.T) {
	for name, tc := range map[string]struct {
		compile func(string) (*Program, error)
		text    string
		err     string
	}{
		"syntax":                   {OfValue, "value <", "Syntax error"},
		"unknown variable":         {OfValue, "value < limit", "undeclared reference to 'limit'"},
		"no answer in a threshold": {OfValue, "status == 200", "undeclared reference to 'status'"},
		"no bool":                  {OfValue, "value + 1.0", "the expression gives double, and must give bool"},
		"types":                    {OfValue, "value == 'x'", "found no matching overload for '_==_'"},
		"no value beside":          {func(s string) (*Program, error) { return OfAnswer(s, false) }, "value < 1.0", "undeclared reference to 'value'"},
		"no number":                {Reading, "body", "the expression gives string, and must give a number or null"},
		"too deep":                 {OfValue, strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "recursion"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tc.compile(tc.text); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
	if _, err := OfAnswer("value < 1.0 && status == 200", true); err != nil {
		t.Errorf("value beside the answer: %v", err)
	}
}

// TestEvaluationIsBounded: neither a long answer nor a wicked expression takes the controller's time.
func TestEvaluationIsBounded(t *testing.T) {
	p, err := OfAnswer(`json.all(a, json.all(b, json.all(c, a + b + c > 0)))`, false)
	if err != nil {
		t.Fatal(err)
	}
	long := answer(200, "["+strings.Repeat("1,", 2000)+"1]")
	if _, err := p.True(t.Context(), Input{Answer: long}); err == nil || !strings.Contains(err.Error(), "costs too much") {
		t.Errorf("got %v, want that it costs too much", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.True(over, Input{Answer: long}); err == nil {
		t.Error("an evaluation whose time is over goes on")
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"value < 1.0", `json.a[0] == "x"`, "args.x.contains(body)", "json.all(x, x)"} {
		f.Add(s, `{"a":[1]}`)
	}
	f.Fuzz(func(t *testing.T, expression, body string) {
		p, err := OfAnswer(expression, true)
		if err != nil {
			return
		}
		_, _ = p.True(t.Context(), Input{Answer: answer(200, body)})
	})
}
