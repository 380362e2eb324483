package analysis

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Matcher of a label, as PromQL has it.
type Matcher struct {
	Label, Op, Value string
}

// Selector is a vector selector of PromQL: a metric's name, and matchers.
type Selector struct {
	Name     string
	Matchers []Matcher
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	matcherOf  = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*`)
)

// ParseSelector reads a selector such as http_requests_total{code=~"5.."}. Whatever else PromQL has (functions, ranges,
// offsets, operators) is refused: compare metrics ask for raw samples.
func ParseSelector(text string) (Selector, error) {
	rest := strings.TrimSpace(text)
	s := Selector{Name: metricName.FindString(rest)}
	if s.Name == "" {
		return s, fmt.Errorf("%q is no selector: it must begin with the name of a metric, such as http_requests_total{code=~\"5..\"}", clip(text, 80))
	}
	rest = strings.TrimSpace(rest[len(s.Name):])
	if rest == "" {
		return s, nil
	}
	if rest[0] != '{' {
		return s, fmt.Errorf("%q is no selector: after %s come matchers in braces, or nothing; functions, ranges and offsets are not taken", clip(text, 80), s.Name)
	}
	rest = rest[1:]
	for {
		rest = strings.TrimSpace(rest)
		if after, done := strings.CutPrefix(rest, "}"); done {
			if strings.TrimSpace(after) != "" {
				return s, fmt.Errorf("%q is no selector: nothing may follow the braces, and there is %q", clip(text, 80), clip(after, 40))
			}
			return s, nil
		}
		m, left, err := parseMatcher(rest)
		if err != nil {
			return s, fmt.Errorf("%q is no selector: %w", clip(text, 80), err)
		}
		s.Matchers = append(s.Matchers, m)
		rest = strings.TrimSpace(left)
		if after, more := strings.CutPrefix(rest, ","); more {
			rest = after
		} else if !strings.HasPrefix(rest, "}") {
			return s, fmt.Errorf("%q is no selector: a comma or a closing brace is missing after %s", clip(text, 80), m.Label)
		}
	}
}

func parseMatcher(text string) (Matcher, string, error) {
	head := matcherOf.FindStringSubmatch(text)
	if head == nil {
		return Matcher{}, "", errors.New("a matcher such as code=~\"5..\" is missing")
	}
	rest := text[len(head[0]):]
	end := -1
	if rest != "" && strings.IndexByte("\"'`", rest[0]) >= 0 {
		for i := 1; i < len(rest); i++ {
			if rest[i] == '\\' && rest[0] != '`' {
				i++
			} else if rest[i] == rest[0] {
				end = i
				break
			}
		}
	}
	if end < 0 {
		return Matcher{}, "", fmt.Errorf("the value of %s must stand in quotes", head[1])
	}
	value, err := unquote(rest[:end+1])
	if err != nil {
		return Matcher{}, "", fmt.Errorf("the value of %s has an escape that does not exist", head[1])
	}
	m := Matcher{Label: head[1], Op: head[2], Value: value}
	if m.Op == "=~" || m.Op == "!~" {
		if _, err := regexp.Compile(value); err != nil {
			return m, "", fmt.Errorf("the value of %s is no regular expression", m.Label)
		}
	}
	return m, rest[end+1:], nil
}

// unquote a literal of PromQL: as Go's, and single quotes enclose strings too.
func unquote(s string) (string, error) {
	if s[0] != '\'' {
		return strconv.Unquote(s)
	}
	var out strings.Builder
	for body := s[1 : len(s)-1]; body != ""; {
		r, multibyte, tail, err := strconv.UnquoteChar(body, '\'')
		if err != nil {
			return "", err
		}
		if r < 0x80 || !multibyte {
			out.WriteByte(byte(r))
		} else {
			out.WriteRune(r)
		}
		body = tail
	}
	return out.String(), nil
}

// With is the selector with one more matcher.
func (s Selector) With(m Matcher) Selector {
	return Selector{Name: s.Name, Matchers: append(slices.Clone(s.Matchers), m)}
}

// String is the selector in PromQL.
func (s Selector) String() string {
	parts := make([]string, len(s.Matchers))
	for i, m := range s.Matchers {
		parts[i] = m.Label + m.Op + strconv.Quote(m.Value)
	}
	if len(parts) == 0 {
		return s.Name
	}
	return s.Name + "{" + strings.Join(parts, ",") + "}"
}

// Beyond are the matchers of s that other lacks, where s selects of the same metric and every matcher of other is one of s;
// false otherwise. What s selects is then a part of what other selects, and Matches of those matchers tells which.
func (s Selector) Beyond(other Selector) ([]Matcher, bool) {
	if s.Name != other.Name {
		return nil, false
	}
	for _, m := range other.Matchers {
		if !slices.Contains(s.Matchers, m) {
			return nil, false
		}
	}
	return slices.DeleteFunc(slices.Clone(s.Matchers), func(m Matcher) bool { return slices.Contains(other.Matchers, m) }), true
}

// Filter says whether labels satisfy matchers, as PromQL does: expressions are anchored, and a label that is not there is
// empty.
func Filter(matchers []Matcher) (func(labels map[string]string) bool, error) {
	var tests []func(map[string]string) bool
	for _, m := range matchers {
		switch m.Op {
		case "=":
			tests = append(tests, func(l map[string]string) bool { return l[m.Label] == m.Value })
		case "!=":
			tests = append(tests, func(l map[string]string) bool { return l[m.Label] != m.Value })
		default:
			re, err := regexp.Compile("^(?s:" + m.Value + ")$")
			if err != nil {
				return nil, fmt.Errorf("the value of %s is no regular expression", m.Label)
			}
			want := m.Op == "=~"
			tests = append(tests, func(l map[string]string) bool { return re.MatchString(l[m.Label]) == want })
		}
	}
	return func(l map[string]string) bool {
		for _, test := range tests {
			if !test(l) {
				return false
			}
		}
		return true
	}, nil
}

// Identity of a series: its labels in order.
func Identity(labels map[string]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		out.WriteString(name + "=" + strconv.Quote(labels[name]) + ",")
	}
	return out.String()
}
