package revert

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// bounds are the lines of one document of a file, without the markers around it.
type bounds struct{ start, end int }

// bounds finds the lines of a document: from after the marker before it to before the marker after it.
func (s *source) bounds(document *yaml.Node) (bounds, error) {
	root := body(document)
	if root == nil {
		return bounds{}, fmt.Errorf("%s: an empty document: %w", s.name, errShape)
	}
	inside := s.offset(root.Line, root.Column)
	out := bounds{start: s.lines[0], end: len(s.data)}
	for _, line := range s.lines {
		if !s.isMarker(line) {
			continue
		}
		if line <= inside {
			out.start = s.nextLine(line)
			if strings.TrimSpace(string(s.data[line+3:s.lineEnd(line)])) != "" {
				return bounds{}, fmt.Errorf("%s: text beside a document marker: %w", s.name, errShape)
			}
			continue
		}
		out.end = line
		break
	}
	return out, nil
}

func (s *source) isMarker(line int) bool {
	rest := s.data[line:]
	if !bytes.HasPrefix(rest, []byte("---")) && !bytes.HasPrefix(rest, []byte("...")) {
		return false
	}
	return len(rest) == 3 || isSpace(rest[3])
}

// removeDocument takes a document out of head, with the marker before it or, for the first one, the one after it.
func (m merger) removeDocument(document *yaml.Node) ([]edit, error) {
	at, err := m.head.bounds(document)
	if err != nil {
		return nil, err
	}
	if len(m.head.documents) < 2 {
		return nil, fmt.Errorf("%s: it is the file's only document: %w", m.head.name, errShape)
	}
	if at.start > m.head.lines[0] {
		at.start = m.head.lineStart(at.start - 1)
	} else if at.end < len(m.head.data) {
		at.end = m.head.nextLine(at.end)
	}
	return []edit{{at.start, at.end, ""}}, nil
}

// insertDocument puts a document of good after the nearest one before it that head has, else before head's first.
func (m merger) insertDocument(document *yaml.Node) ([]edit, error) {
	from, err := m.good.bounds(document)
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(string(m.good.data[from.start:from.end]), "\r\n", "\n")
	text = strings.ReplaceAll(strings.TrimSuffix(text, "\n")+"\n", "\n", m.head.eol)
	var after *yaml.Node
	for _, sibling := range m.good.documents {
		if sibling == document {
			break
		}
		if found := m.head.find(identity(sibling)); found != nil {
			after = found
		}
	}
	if after == nil {
		if len(m.head.documents) == 0 {
			return nil, fmt.Errorf("%s: an empty file: %w", m.head.name, errShape)
		}
		first, err := m.head.bounds(m.head.documents[0])
		if err != nil {
			return nil, err
		}
		return []edit{{first.start, first.start, text + "---" + m.head.eol}}, nil
	}
	at, err := m.head.bounds(after)
	if err != nil {
		return nil, err
	}
	text = "---" + m.head.eol + text
	if at.end > 0 && m.head.data[at.end-1] != '\n' {
		text = m.head.eol + text
	}
	return []edit{{at.end, at.end, text}}, nil
}
