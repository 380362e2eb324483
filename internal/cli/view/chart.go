package view

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// chart of plain text: time to the right, a logarithmic scale upwards. What lies beyond the scale stands at its edge.
type chart struct {
	cells     [][]rune       // rows from the top
	named     map[int]string // rows with a line, and its value
	low, high float64
	from, to  time.Time
}

// labels is the width of the scale's numbers, with what stands around it.
const labels = 10

func newChart(width, rows int, low, high float64, course []v1alpha1.ComparisonPoint) *chart {
	c := &chart{named: map[int]string{}, low: low, high: high, from: course[0].At.Time, to: course[len(course)-1].At.Time}
	for range rows {
		c.cells = append(c.cells, []rune(strings.Repeat(" ", max(10, width-labels))))
	}
	return c
}

func (c *chart) row(value float64) int {
	top := float64(len(c.cells) - 1)
	if value <= c.low {
		return int(top)
	}
	at := math.Log(value/c.low) / math.Log(c.high/c.low)
	return int(math.Round(top * (1 - math.Min(1, at))))
}

func (c *chart) column(at time.Time) int {
	last := len(c.cells[0]) - 1
	span := c.to.Sub(c.from)
	if span <= 0 {
		return last
	}
	return min(max(int(math.Round(float64(last)*float64(at.Sub(c.from))/float64(span))), 0), last)
}

func (c *chart) line(value float64, with rune) {
	c.named[c.row(value)] = short(value)
	row := c.cells[c.row(value)]
	for i := range row {
		row[i] = with
	}
}

// points draws a value that stays as it is until the next one.
func (c *chart) points(marks []mark, with rune) {
	for i, m := range marks {
		to := len(c.cells[0])
		if i+1 < len(marks) {
			to = c.column(marks[i+1].at)
		}
		for x := c.column(m.at); x < to; x++ {
			c.cells[c.row(m.value)][x] = with
		}
	}
}

func (c *chart) bands(marks []mark) {
	for _, m := range marks {
		x := c.column(m.at)
		for y := c.row(m.high); y <= c.row(m.low); y++ {
			c.cells[y][x] = '|'
		}
		c.cells[c.row(m.value)][x] = 'o'
	}
}

func (c *chart) text() string {
	var out strings.Builder
	top := len(c.cells) - 1
	for y, row := range c.cells {
		label := c.named[y]
		if label == "" && (y == 0 || y == top) {
			label = short(c.low * math.Pow(c.high/c.low, float64(top-y)/float64(top)))
		}
		out.WriteString(strings.TrimRight(fmt.Sprintf("  %6s %s", label, string(row)), " ") + "\n")
	}
	left, right := c.from.UTC().Format("15:04"), c.to.UTC().Format("15:04")
	gap := max(1, len(c.cells[0])-len(left)-len(right))
	fmt.Fprintf(&out, "  %6s %s%s%s\n", "UTC", left, strings.Repeat(" ", gap), right)
	return out.String()
}

// short number with three digits.
func short(x float64) string {
	if x >= 1e5 || x > 0 && x < 1e-3 {
		return strconv.FormatFloat(x, 'e', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}
