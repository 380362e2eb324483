package revert

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/belay-delivery/belay/gitops/render"
)

// errShape says that a splice is not possible at this place of the text.
var errShape = errors.New("the text cannot be edited in place")

// source is the text of a YAML file with the nodes of its documents.
type source struct {
	name string
	data []byte
	// lines are the offsets of the first byte of each line.
	lines     []int
	documents []*yaml.Node
	eol       string
}

var unusualBreak = regexp.MustCompile("\u0085|\u2028|\u2029|\r(?:[^\n]|$)")

func newSource(name string, data []byte) (*source, error) {
	if unusualBreak.Match(data) {
		return nil, fmt.Errorf("%s: unusual line breaks: %w", name, errShape)
	}
	documents, err := render.Documents(name, data)
	if err != nil {
		return nil, err
	}
	s := &source{name: name, data: data, documents: documents, eol: "\n"}
	s.lines = []int{len(data) - len(bytes.TrimPrefix(data, []byte("\ufeff")))}
	for offset, b := range data {
		if b == '\n' {
			s.lines = append(s.lines, offset+1)
		}
	}
	if bytes.Contains(data, []byte("\r\n")) {
		s.eol = "\r\n"
	}
	return s, nil
}

// edit replaces the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// apply makes the edits, which must not overlap; what is inserted among lines
// that go away takes their place.
func (s *source) apply(edits []edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int {
		return cmp.Or(a.start-b.start, a.end-b.end)
	})
	var out bytes.Buffer
	at := 0
	removed := false
	for _, e := range edits {
		switch {
		case e.start >= at:
			out.Write(s.data[at:e.start])
			out.WriteString(e.text)
			at = e.end
			removed = e.text == "" && e.end > e.start && at == s.lineStart(at)
		case removed && e.start == e.end:
			out.WriteString(strings.TrimSuffix(strings.TrimPrefix(e.text, s.eol), s.eol) + s.eol)
		default:
			return nil, fmt.Errorf("%s: edits overlap: %w", s.name, errShape)
		}
	}
	out.Write(s.data[at:])
	return out.Bytes(), nil
}

// offset turns the parser's line and column (in characters, from 1) into bytes.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.lines) {
		return len(s.data)
	}
	at := s.lines[line-1]
	for ; column > 1 && at < len(s.data) && s.data[at] != '\n'; column-- {
		_, size := utf8.DecodeRune(s.data[at:])
		at += size
	}
	return at
}

// lineStart and lineEnd bound the line of an offset, without its line break.
func (s *source) lineStart(at int) int {
	index, found := slices.BinarySearch(s.lines, at)
	if !found {
		index--
	}
	return s.lines[max(index, 0)]
}

func (s *source) lineEnd(at int) int {
	end := bytes.IndexByte(s.data[at:], '\n')
	if end < 0 {
		return len(s.data)
	}
	end += at
	if end > at && s.data[end-1] == '\r' {
		end--
	}
	return end
}

func (s *source) nextLine(at int) int {
	if next := bytes.IndexByte(s.data[at:], '\n'); next >= 0 {
		return at + next + 1
	}
	return len(s.data)
}

// column is the number of bytes from the start of the line.
func (s *source) column(at int) int { return at - s.lineStart(at) }

// start is where a node's own text begins, after an anchor and a tag.
func (s *source) start(node *yaml.Node) int {
	at := s.offset(node.Line, node.Column)
	if node.Kind == yaml.AliasNode {
		return at
	}
	if node.Style&yaml.FlowStyle == 0 && (node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode) && len(node.Content) > 0 {
		if node.Kind == yaml.MappingNode {
			return s.offset(node.Content[0].Line, node.Content[0].Column)
		}
		if dash, ok := s.dash(node.Content[0]); ok {
			return dash
		}
	}
	for at < len(s.data) && (s.data[at] == '&' || s.data[at] == '!') {
		for at < len(s.data) && !isSpace(s.data[at]) {
			at++
		}
		for at < len(s.data) && (s.data[at] == ' ' || s.data[at] == '\t') {
			at++
		}
	}
	return at
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// dash finds the '-' of a block sequence's item, on the item's own line.
func (s *source) dash(item *yaml.Node) (int, bool) {
	at := s.offset(item.Line, item.Column) - 1
	for at >= 0 && (s.data[at] == ' ' || s.data[at] == '\t') {
		at--
	}
	return at, at >= 0 && s.data[at] == '-' && at >= s.lineStart(at)
}

// place is where a node stands: the indent of the line that owns it (a key's or
// a dash's column), and whether it is inside a flow collection.
type place struct {
	indent int
	flow   bool
}

// end is the offset after a node's text, without a trailing comment.
func (s *source) end(node *yaml.Node, at place) (int, error) {
	start := s.start(node)
	switch {
	case node.Kind == yaml.AliasNode:
		return start + 1 + len(node.Value), nil
	case node.Kind == yaml.ScalarNode:
		return s.scalarEnd(node, start, at)
	case node.Style&yaml.FlowStyle != 0 || len(node.Content) == 0:
		return s.flowEnd(start)
	case node.Kind == yaml.MappingNode:
		last := node.Content[len(node.Content)-1]
		return s.end(last, place{indent: s.column(s.keyStart(node.Content[len(node.Content)-2]))})
	}
	return s.end(node.Content[len(node.Content)-1], place{indent: s.column(start)})
}

func (s *source) keyStart(key *yaml.Node) int { return s.offset(key.Line, key.Column) }

func (s *source) scalarEnd(node *yaml.Node, start int, at place) (int, error) {
	switch {
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return s.blockEnd(start, at.indent), nil
	case node.Style&yaml.DoubleQuotedStyle != 0:
		return s.quotedEnd(start, '"')
	case node.Style&yaml.SingleQuotedStyle != 0:
		return s.quotedEnd(start, '\'')
	case node.Value == "":
		return start, nil
	}
	return s.plainEnd(node.Value, start, at.flow)
}

func (s *source) quotedEnd(start int, quote byte) (int, error) {
	for at := start + 1; at < len(s.data); at++ {
		switch {
		case quote == '"' && s.data[at] == '\\':
			at++
		case s.data[at] == quote && quote == '\'' && at+1 < len(s.data) && s.data[at+1] == quote:
			at++
		case s.data[at] == quote:
			return at + 1, nil
		}
	}
	return 0, fmt.Errorf("%s: quotes do not close: %w", s.name, errShape)
}

// blockEnd is the end of the last line of a block scalar: blank lines and those
// indented deeper than the owner belong to it; trailing blank lines only where
// the header says keep.
func (s *source) blockEnd(start, indent int) int {
	end := s.lineEnd(start)
	keep := bytes.ContainsRune(s.data[start:end], '+')
	for at := s.nextLine(start); at < len(s.data); at = s.nextLine(at) {
		line := string(s.data[at:s.lineEnd(at)])
		blank := strings.TrimSpace(line) == ""
		if !blank && len(line)-len(strings.TrimLeft(line, " ")) <= indent {
			break
		}
		if !blank || keep {
			end = s.lineEnd(at)
		}
	}
	return end
}

var comment = regexp.MustCompile(`[ \t]#`)

// plainEnd finds where a plain scalar ends by reading on until the folded text
// is the value that the parser saw.
func (s *source) plainEnd(value string, start int, flow bool) (int, error) {
	var folded strings.Builder
	breaks := 0
	for at, lines := start, 0; at < len(s.data) && lines < 200; at, lines = s.nextLine(at), lines+1 {
		text := string(s.data[at:s.lineEnd(at)])
		if cut := comment.FindStringIndex(text); cut != nil {
			text = text[:cut[0]]
		}
		if flow {
			if cut := strings.IndexAny(text, ",[]{}"); cut >= 0 {
				text = text[:cut]
			}
		}
		trimmed := strings.TrimSpace(text)
		switch {
		case trimmed == "":
			breaks++
			continue
		case breaks > 0:
			folded.WriteString(strings.Repeat("\n", breaks))
		case lines > 0:
			folded.WriteByte(' ')
		}
		breaks = 0
		folded.WriteString(trimmed)
		if folded.String() == value {
			return at + len(strings.TrimRight(text, " \t")), nil
		}
	}
	return 0, fmt.Errorf("%s: a plain value does not end where expected: %w", s.name, errShape)
}

// flowEnd matches brackets, past quotes and comments.
func (s *source) flowEnd(start int) (int, error) {
	if start >= len(s.data) || s.data[start] != '{' && s.data[start] != '[' {
		return 0, fmt.Errorf("%s: expected a flow collection: %w", s.name, errShape)
	}
	depth := 0
	for at := start; at < len(s.data); at++ {
		switch b := s.data[at]; b {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1, nil
			}
		case '"', '\'':
			if before := s.data[at-1]; !isSpace(before) && !strings.ContainsRune("{[,:", rune(before)) {
				continue // inside a plain scalar
			}
			end, err := s.quotedEnd(at, b)
			if err != nil {
				return 0, err
			}
			at = end - 1
		case '#':
			if isSpace(s.data[at-1]) {
				at = s.lineEnd(at) - 1
			}
		}
	}
	return 0, fmt.Errorf("%s: brackets do not close: %w", s.name, errShape)
}

// reindent moves the lines after the first by a number of columns and gives all
// of them the target's line ending.
func reindent(text string, by int, eol string) (string, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		if i == 0 || strings.TrimSpace(line) == "" {
			continue
		}
		if by >= 0 {
			lines[i] = strings.Repeat(" ", by) + line
			continue
		}
		if len(line) < -by || strings.TrimSpace(line[:-by]) != "" {
			return "", fmt.Errorf("indentation: %w", errShape)
		}
		lines[i] = line[-by:]
	}
	return strings.Join(lines, eol), nil
}
