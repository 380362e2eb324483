package view

import (
	"strings"
	"unicode/utf8"
)

// Tone is what a cell means; Style turns it into a colour.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Faint
	Strong
)

var codes = map[Tone]string{Good: "\x1b[32m", Warn: "\x1b[33m", Bad: "\x1b[31m", Faint: "\x1b[2m", Strong: "\x1b[1m"}

// Style says how text looks.
type Style struct {
	// Color sends ANSI colour codes.
	Color bool
}

// Paint gives text a tone.
func (s Style) Paint(text string, tone Tone) string {
	code := codes[tone]
	if !s.Color || code == "" || text == "" {
		return text
	}
	return code + text + "\x1b[0m"
}

// Cell is text with a tone; its width is that of the text.
type Cell struct {
	Text string
	Tone Tone
}

// Table aligns rows of cells, two spaces apart; columns that are empty in every row are left out.
func (s Style) Table(rows [][]Cell) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell.Text))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		pad := 0
		for i, cell := range row {
			if widths[i] == 0 {
				continue
			}
			if cell.Text != "" {
				out.WriteString(strings.Repeat(" ", pad))
				out.WriteString(s.Paint(cell.Text, cell.Tone))
				pad = 0
			}
			pad += widths[i] - utf8.RuneCountInString(cell.Text) + 2
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// Clean takes control characters out of text that others wrote, so that it cannot move the cursor.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, text)
}
