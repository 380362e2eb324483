package revert

import (
	"fmt"
	"strings"
)

// first is the offset of an entry's key or dash.
func (m merger) first(s *source, e entry) int {
	if !e.item {
		return s.keyStart(e.first)
	}
	dash, ok := s.dash(e.first)
	if !ok {
		return s.keyStart(e.first)
	}
	return dash
}

// entryEnd is the end of the last line of an entry, comment included.
func (m merger) entryEnd(s *source, e entry) (int, error) {
	if _, ok := s.dash(e.first); e.item && !ok {
		return 0, fmt.Errorf("%s: %w", s.name, errShape)
	}
	end, err := s.end(e.value, place{indent: s.column(m.first(s, e))})
	if err != nil {
		return 0, err
	}
	line := s.lineEnd(end)
	rest := strings.TrimSpace(string(s.data[end:line]))
	if rest != "" && !strings.HasPrefix(rest, "#") {
		return 0, fmt.Errorf("%s: %w", s.name, errShape)
	}
	return line, nil
}

func (m merger) entryText(g entry, indent int) (string, error) {
	end, err := m.entryEnd(m.good, g)
	if err != nil {
		return "", err
	}
	start := m.first(m.good, g)
	return reindent(string(m.good.data[start:end]), indent-m.good.column(start), m.head.eol)
}

// insert puts good's entry after the nearest sibling before it that head has,
// else before head's first.
func (m merger) insert(g entry, good, head []entry) ([]edit, error) {
	if len(head) == 0 {
		return nil, fmt.Errorf("%s: %w", m.head.name, errShape)
	}
	indent := m.head.column(m.first(m.head, head[0]))
	text, err := m.entryText(g, indent)
	if err != nil {
		return nil, err
	}
	margin := strings.Repeat(" ", indent)
	text = m.remarks(g, margin) + text
	var after *entry
	for _, sibling := range good {
		if sibling.id == g.id {
			break
		}
		if h, found := byID(head, sibling.id); found {
			after = &h
		}
	}
	if after == nil {
		start := m.first(m.head, head[0])
		line := m.head.lineStart(start)
		if strings.TrimSpace(string(m.head.data[line:start])) == "" {
			return []edit{{line, line, margin + text + m.head.eol}}, nil
		}
		return []edit{{start, start, text + m.head.eol + margin}}, nil
	}
	end, err := m.entryEnd(m.head, *after)
	if err != nil {
		return nil, err
	}
	return []edit{{end, end, m.head.eol + margin + text}}, nil
}

// remarks are the comment lines right above an entry of good which head does not have, to come back with it.
func (m merger) remarks(g entry, margin string) string {
	out := ""
	line := m.good.lineStart(m.first(m.good, g))
	for line > m.good.lines[0] {
		line = m.good.lineStart(line - 1)
		text := strings.TrimSpace(string(m.good.data[line:m.good.lineEnd(line)]))
		if !strings.HasPrefix(text, "#") || strings.Contains(string(m.head.data), text) || strings.Contains(string(m.bad.data), text) {
			break
		}
		out = text + m.head.eol + margin + out
	}
	return out
}

// remove takes an entry's lines out, and the comments above it that came with it.
func (m merger) remove(h entry, head []entry) ([]edit, error) {
	start := m.first(m.head, h)
	end, err := m.entryEnd(m.head, h)
	if err != nil {
		return nil, err
	}
	line := m.head.lineStart(start)
	if strings.TrimSpace(string(m.head.data[line:start])) == "" {
		return []edit{{m.aboveComments(line), m.head.nextLine(end), ""}}, nil
	}
	for i, sibling := range head { // the first key after a dash: close up
		if sibling.id == h.id && i+1 < len(head) {
			return []edit{{start, m.first(m.head, head[i+1]), ""}}, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", m.head.name, errShape)
}

// aboveComments moves the start of a removal up over comment lines that are in
// bad and not in good.
func (m merger) aboveComments(line int) int {
	for line > m.head.lines[0] {
		above := m.head.lineStart(line - 1)
		text := strings.TrimSpace(string(m.head.data[above:m.head.lineEnd(above)]))
		if !strings.HasPrefix(text, "#") || strings.Contains(string(m.good.data), text) || !strings.Contains(string(m.bad.data), text) {
			break
		}
		line = above
	}
	return line
}
