package analysis

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var vars = Variables{
	Namespace: "shop",
	Args:      map[string]string{"s": `a"b`, "raw": "a`b", "window": "5m", "limit": "-1.5e3", "re": `\d+`, "nl": "a\nb\x01'"},
	Canary:    &Arm{Pods: []string{"web.2-x", "web-1", "web-1"}, Revision: "abc", Service: "web-canary"},
	Stable:    &Arm{},
}

func TestExpand(t *testing.T) {
	for name, tc := range map[string]struct{ query, want, err string }{
		"nothing":                      {query: `up{a="}}"}`, want: `up{a="}}"}`},
		"namespace":                    {query: `up{n="{{namespace}}"}`, want: `up{n="shop"}`},
		"spaces":                       {query: `up{n="{{ namespace }}"}`, want: `up{n="shop"}`},
		"double quoted":                {query: `up{n="{{args.s}}"}`, want: `up{n="a\"b"}`},
		"single quoted":                {query: `up{n='{{args.s}}{{args.nl}}'}`, want: `up{n='a"ba\nb\x01\''}`},
		"back quoted":                  {query: "up{n=`{{args.re}}`}", want: "up{n=`\\d+`}"},
		"back quote in back quotes":    {query: "up{n=`{{args.raw}}`}", err: "back quote"},
		"back quote in double quotes":  {query: `up{n="{{args.raw}}"}`, want: "up{n=\"a`b\"}"},
		"backslash":                    {query: `up{n=~"{{args.re}}"}`, want: `up{n=~"\\d+"}`},
		"new line and control":         {query: `up{n="{{args.nl}}"}`, want: `up{n="a\nb\x01'"}`},
		"duration outside a literal":   {query: `rate(x[{{args.window}}])`, want: `rate(x[5m])`},
		"number outside a literal":     {query: `x > {{args.limit}}`, want: `x > -1.5e3`},
		"text outside a literal":       {query: `x > {{args.s}}`, err: "outside a quoted string"},
		"after an escaped quote":       {query: `up{n="\"{{args.s}}"}`, want: `up{n="\"a\"b"}`},
		"after an escaped backslash":   {query: `up{n="\\"} > {{args.s}}`, err: "outside a quoted string"},
		"quote of another kind inside": {query: `up{n="it's {{args.s}}"}`, want: `up{n="it's a\"b"}`},
		"comment with a quote":         {query: "up # it's\n + {{args.s}}", err: "outside a quoted string"},
		"comment":                      {query: "up # {{args.s}}\n+ 1", want: "up # \n+ 1"},
		"pods":                         {query: `up{p=~"{{canary.pods}}"}`, want: `up{p=~"web-1|web\\.2-x"}`},
		"pods in back quotes":          {query: "up{p=~`{{canary.pods}}`}", want: "up{p=~`web-1|web\\.2-x`}"},
		"no pods":                      {query: `up{p=~"{{stable.pods}}"}`, want: `up{p=~"none^"}`},
		"revision and service":         {query: `"{{canary.revision}} {{canary.service}}"`, want: `"abc web-canary"`},
		"no revision, no service":      {query: `"{{stable.revision}} {{stable.service}}"`, want: `"none none"`},
		"unknown":                      {query: `{{canary.pod}}`, err: "unknown placeholder {{canary.pod}}: known are {{args.limit}}, {{args.nl}}, {{args.raw}}, {{args.re}}, {{args.s}}, {{args.window}}, {{namespace}}, {{canary.pods}}"},
		"unknown argument":             {query: `{{args.x}}`, err: "unknown placeholder {{args.x}}"},
		"empty":                        {query: `{{ }}`, err: "without a name"},
		"open":                         {query: `up{{namespace`, err: "does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Expand(tc.query, vars)
			switch {
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("error %v, want one with %q", err, tc.err)
			case tc.err == "" && err != nil:
				t.Error(err)
			case got != tc.want:
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestExpandWithoutArms(t *testing.T) {
	_, err := Expand(`up{p=~"{{canary.pods}}"}`, Variables{})
	if err == nil || !strings.Contains(err.Error(), "{{canary.pods}} has no value: the run has no arms") {
		t.Errorf("error %v", err)
	}
}

func TestExpandIsBounded(t *testing.T) {
	v := Variables{Args: map[string]string{"a": strings.Repeat("x", 1024)}}
	if _, err := Expand(strings.Repeat("{{args.a}}", 800), v); err == nil || !strings.Contains(err.Error(), "after expansion") {
		t.Errorf("error %v", err)
	}
}

func TestNoPodsMatchesNothing(t *testing.T) {
	re := regexp.MustCompile("^(?s:" + noPods + ")$") // as Prometheus anchors it
	for _, s := range []string{"", "none", "none^", "none\n", "none\nx"} {
		if re.MatchString(s) {
			t.Errorf("%q matches %q", noPods, s)
		}
	}
}

// A value between double quotes comes out of an unquoting reader as it went in, whatever it is: it cannot end the
// literal, nor add to it.
func TestArgumentsStayInsideTheirLiteral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching("[a\"'`\\\\\n}#]*")).Draw(t, "value")
		const before, after = `up{a="`, `"} + 1`
		got, err := Expand(before+"{{args.v}}"+after, Variables{Args: map[string]string{"v": value}})
		if err != nil {
			t.Fatal(err)
		}
		literal := strings.TrimSuffix(strings.TrimPrefix(got, before), after)
		back, err := strconv.Unquote(`"` + literal + `"`)
		if err != nil || back != value {
			t.Fatalf("%q became %s, which reads as %q (%v)", value, literal, back, err)
		}
	})
}

func FuzzExpand(f *testing.F) {
	f.Add(`up{a="{{args.v}}"}`, `"`)
	f.Add("up{a=`{{args.v}}`} # {{args.v}}\n'{{args.v}}\\", "`")
	f.Fuzz(func(t *testing.T, query, value string) {
		got, err := Expand(query, Variables{Args: map[string]string{"v": value}})
		if err != nil {
			return
		}
		plain, err := Expand(query, Variables{Args: map[string]string{"v": "x"}})
		if err != nil {
			t.Fatalf("%q takes %q but not x: %v", query, value, err)
		}
		if a, b := skeleton(got), skeleton(plain); a != b && !strings.Contains(query, "#") && bareOutside(query) {
			t.Fatalf("value %q changes the query's literals from %q to %q", value, b, a)
		}
	})
}

// skeleton is a query without the content of its literals.
func skeleton(query string) string {
	var out strings.Builder
	var quote byte
	for i := 0; i < len(query); i++ {
		if quote != 0 && quote != '`' && query[i] == '\\' {
			i++
			continue
		}
		before := quote
		quote = nextQuote(quote, query[i])
		if before == 0 || quote == 0 {
			out.WriteByte(query[i])
		}
	}
	return out.String()
}

// bareOutside says whether all placeholders of a query stand inside literals.
func bareOutside(query string) bool {
	parts, err := parseQuery(query)
	for _, p := range parts {
		if p.name != "" && p.quote == 0 {
			return false
		}
	}
	return err == nil
}
