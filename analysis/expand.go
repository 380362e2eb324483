package analysis

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxExpanded bounds the size of a query after expansion, in bytes.
const maxExpanded = 256 << 10

// none stands for what does not exist: a revision or Service that a run does not have.
const none = "none"

// noPods is a regular expression that matches nothing, whatever surrounds it.
const noPods = "none^"

const argsPrefix = "args."

// Arm is one side of a rollout, as queries see it.
type Arm struct {
	// Pods are the names of the arm's pods.
	Pods []string
	// Addresses are the IP addresses of the arm's pods.
	Addresses []string
	// Revision is the value of the pods' belay.dev/revision label.
	Revision string
	// Service is the name of the arm's Service.
	Service string
}

// Variables are the values of a query's placeholders.
type Variables struct {
	Namespace string
	Args      map[string]string
	// Canary and Stable are nil on a run that has no arms.
	Canary, Stable *Arm
}

// builtIn are the placeholders besides {{args.…}}; a nil arm has no values.
var builtIn = []struct {
	name  string
	value func(Variables) (string, bool)
}{
	{"namespace", func(v Variables) (string, bool) { return v.Namespace, true }},
	{"canary.pods", func(v Variables) (string, bool) { return v.Canary.podRegexp() }},
	{"stable.pods", func(v Variables) (string, bool) { return v.Stable.podRegexp() }},
	{"canary.addresses", func(v Variables) (string, bool) { return v.Canary.addressRegexp() }},
	{"stable.addresses", func(v Variables) (string, bool) { return v.Stable.addressRegexp() }},
	{"canary.revision", func(v Variables) (string, bool) { return v.Canary.revision() }},
	{"stable.revision", func(v Variables) (string, bool) { return v.Stable.revision() }},
	{"canary.service", func(v Variables) (string, bool) { return v.Canary.service() }},
	{"stable.service", func(v Variables) (string, bool) { return v.Stable.service() }},
}

func (a *Arm) podRegexp() (string, bool) {
	if a == nil {
		return "", false
	}
	return anyOf(a.Pods), true
}

func (a *Arm) addressRegexp() (string, bool) {
	if a == nil {
		return "", false
	}
	return anyOf(a.Addresses), true
}

// anyOf is an expression that matches any of some names.
func anyOf(list []string) string {
	if len(list) == 0 {
		return noPods
	}
	names := slices.Clone(list)
	slices.Sort(names)
	for i := range names {
		names[i] = regexp.QuoteMeta(names[i])
	}
	return strings.Join(slices.Compact(names), "|")
}

func (a *Arm) revision() (string, bool) {
	if a == nil {
		return "", false
	}
	return orNone(a.Revision), true
}

func (a *Arm) service() (string, bool) {
	if a == nil {
		return "", false
	}
	return orNone(a.Service), true
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// Expand puts the values of vars into the placeholders of a PromQL query: {{args.name}}, {{namespace}}, {{canary.pods}}
// and {{stable.pods}} (an alternation of the quoted names, which matches nothing when there are no pods), {{canary.addresses}}
// and {{stable.addresses}} (the same of the pods' IP addresses), and
// {{canary.revision}}, {{stable.revision}}, {{canary.service}} and {{stable.service}} ("none" when there is none).
//
// A value never leaves the string literal that its placeholder stands in: it is escaped for that literal's kind of
// quote. Outside a literal only a single number, duration or identifier is taken; within back quotes, where PromQL
// knows no escapes, a value must not contain a back quote. A placeholder without a value is an error that names it and
// the known ones.
func Expand(query string, vars Variables) (string, error) {
	parts, err := parseQuery(query)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, p := range parts {
		if p.name == "" {
			out.WriteString(p.text)
			continue
		}
		value, err := valueOf(p.name, vars)
		if err != nil {
			return "", err
		}
		escaped, err := escape(p, value)
		if err != nil {
			return "", err
		}
		out.WriteString(escaped)
	}
	if out.Len() > maxExpanded {
		return "", fmt.Errorf("the query has %d bytes after expansion: at most %d are sent", out.Len(), maxExpanded)
	}
	return out.String(), nil
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// expressions are the placeholders whose values are regular expressions already.
var expressions = []string{"canary.pods", "stable.pods", "canary.addresses", "stable.addresses"}

// ExpandRegexp puts the values of vars into the placeholders of a regular expression, quoted: they match themselves alone.
func ExpandRegexp(text string, vars Variables) (string, error) {
	var problem error
	out := placeholder.ReplaceAllStringFunc(text, func(match string) string {
		name := placeholder.FindStringSubmatch(match)[1]
		value, err := valueOf(name, vars)
		if err != nil {
			problem = err
			return ""
		}
		if slices.Contains(expressions, name) {
			return "(?:" + value + ")"
		}
		return regexp.QuoteMeta(value)
	})
	if problem != nil {
		return "", problem
	}
	if _, err := regexp.Compile(out); err != nil {
		return "", errors.New("it is no regular expression")
	}
	return out, nil
}

func valueOf(name string, vars Variables) (string, error) {
	if arg, isArg := strings.CutPrefix(name, argsPrefix); isArg {
		if value, ok := vars.Args[arg]; ok {
			return value, nil
		}
		return "", unknownPlaceholder(name, keys(vars.Args))
	}
	for _, b := range builtIn {
		if b.name != name {
			continue
		}
		value, ok := b.value(vars)
		if !ok {
			return "", fmt.Errorf("placeholder {{%s}} has no value: the run has no arms", name)
		}
		return value, nil
	}
	return "", unknownPlaceholder(name, keys(vars.Args))
}

func keys(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	return names
}

func isBuiltIn(name string) bool {
	for _, b := range builtIn {
		if b.name == name {
			return true
		}
	}
	return false
}

func unknownPlaceholder(name string, args []string) error {
	known := make([]string, 0, len(args)+len(builtIn))
	for _, a := range slices.Sorted(slices.Values(args)) {
		known = append(known, "{{"+argsPrefix+a+"}}")
	}
	for _, b := range builtIn {
		known = append(known, "{{"+b.name+"}}")
	}
	return fmt.Errorf("unknown placeholder {{%s}}: known are %s", name, strings.Join(known, ", "))
}

// part is a piece of a query: text as it stands, or a placeholder with the quote of the literal around it (0: none).
type part struct {
	text  string
	name  string
	quote byte
}

// parseQuery splits a query at its placeholders. It follows PromQL's lexer as far as literals and comments go.
func parseQuery(query string) ([]part, error) {
	var parts []part
	var quote byte // of the literal that we are in; '#' in a comment
	start := 0
	for i := 0; i < len(query); i++ {
		if strings.HasPrefix(query[i:], "{{") {
			end := strings.Index(query[i:], "}}")
			if end < 0 {
				return nil, errors.New("a placeholder begins with {{ and does not end with }}")
			}
			name := strings.TrimSpace(query[i+2 : i+end])
			if name == "" {
				return nil, errors.New("a placeholder {{}} without a name")
			}
			parts = append(parts, part{text: query[start:i]}, part{name: name, quote: quote})
			i += end + 1
			start = i + 1
			continue
		}
		if quote != 0 && quote != '`' && quote != '#' && query[i] == '\\' {
			i++ // an escaped byte closes nothing
			continue
		}
		quote = nextQuote(quote, query[i])
	}
	return append(parts, part{text: query[start:]}), nil
}

// nextQuote is the literal that c leaves us in.
func nextQuote(quote, c byte) byte {
	switch {
	case quote == 0 && strings.IndexByte("\"'`#", c) >= 0:
		return c
	case quote == '#' && (c == '\n' || c == '\r'), quote != '#' && quote == c:
		return 0
	default:
		return quote
	}
}

// bare is what may stand outside a literal: one number, duration or identifier.
var bare = regexp.MustCompile(`^([a-zA-Z0-9_:.]+|[-+]?[0-9.]+([eE][-+]?[0-9]+)?)$`)

func escape(p part, value string) (string, error) {
	switch p.quote {
	case '"', '\'':
		return escapeQuoted(value, p.quote), nil
	case '`':
		if strings.Contains(value, "`") {
			return "", fmt.Errorf("the value of {{%s}} contains a back quote, and the placeholder stands between back quotes: use double quotes", p.name)
		}
		return value, nil
	case '#':
		return "", nil
	default:
		if !bare.MatchString(value) {
			return "", fmt.Errorf("the value of {{%s}} is not a single number, duration or name, and the placeholder stands outside a quoted string: put it in double quotes", p.name)
		}
		return value, nil
	}
}

func escapeQuoted(value string, quote byte) string {
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\', c == quote:
			out.WriteByte('\\')
			out.WriteByte(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
