package verdicts

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Cell is what a rule did in one scenario at one rate of requests.
type Cell struct {
	Runs, Halted, Promoted int
	// Minutes until the right end.
	Minutes []float64
	// Exposure of this rule, and without any gate.
	Exposure, Ungated float64
}

// Halts is the share of rollouts that were halted.
func (c Cell) Halts() float64 { return float64(c.Halted) / float64(c.Runs) }

// Promotes is the share that was promoted.
func (c Cell) Promotes() float64 { return float64(c.Promoted) / float64(c.Runs) }

// Median of the minutes until the right end; NaN where it never came.
func (c Cell) Median() float64 {
	if len(c.Minutes) == 0 {
		return math.NaN()
	}
	slices.Sort(c.Minutes)
	return c.Minutes[len(c.Minutes)/2]
}

// Within is the share of all runs that came to the right end within minutes.
func (c Cell) Within(minutes float64) float64 {
	n := 0
	for _, m := range c.Minutes {
		if m <= minutes {
			n++
		}
	}
	return float64(n) / float64(c.Runs)
}

// Wilson is the interval of Wilson (1927) for a share, at 95 %.
func Wilson(hits, runs int) (low, high float64) {
	const z = 1.959963984540054
	n, p := float64(runs), float64(hits)/float64(runs)
	middle, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (middle-half)/(1+z*z/n)), min(1, (middle+half)/(1+z*z/n))
}

// Setting is one column of the benchmark.
type Setting struct {
	RPS    float64
	Native bool
}

func (s Setting) String() string {
	kind := "classic"
	if s.Native {
		kind = "native"
	}
	return fmt.Sprintf("%g rps, %s histograms", s.RPS, kind)
}

// Measure runs rules over seeds 0 to n-1 of a scenario, on as many goroutines as workers. The answer has a cell for each rule.
func Measure(rules []Rule, s Scenario, at Setting, seeds, workers int) []Cell {
	return measure(rules, s, at, Seeds{0, seeds}, workers)
}

// Seeds from one, which is among them, to one that is not.
type Seeds struct{ From, To int }

func measure(rules []Rule, s Scenario, at Setting, of Seeds, workers int) []Cell {
	seeds := of.To - of.From
	outcomes := make([][]Outcome, seeds)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < seeds; i += workers {
				outcomes[i] = judge(rules, s, at, uint64(of.From+i))
			}
		})
	}
	group.Wait()
	ungated := float64(discovery)
	for _, w := range schedule {
		ungated += w * float64(stepBlocks)
	}
	cells := make([]Cell, len(rules))
	for i := range cells {
		c := &cells[i]
		c.Runs = seeds
		for _, all := range outcomes {
			o := all[i]
			if o.Halted {
				c.Halted++
			}
			if o.Promoted {
				c.Promoted++
			}
			if s.Bad && o.Halted || !s.Bad && o.Promoted {
				c.Minutes = append(c.Minutes, float64(o.Blocks)*width.Minutes())
			}
			c.Exposure, c.Ungated = c.Exposure+min(o.Exposure, ungated), c.Ungated+ungated
		}
	}
	return cells
}

func judge(rules []Rule, s Scenario, at Setting, seed uint64) []Outcome {
	v := NewService(s, at.RPS, at.Native, seed)
	course := &Course{}
	if slices.ContainsFunc(rules, func(r Rule) bool { return r.Fixed != nil }) {
		course, v = Record(v)
	} else {
		for range lookBack {
			course.reference = append(course.reference, v.Next(0))
		}
	}
	var out []Outcome
	for _, r := range rules {
		if r.Closed != nil {
			out = append(out, r.Closed(v.Clone(), course.reference))
		} else {
			out = append(out, r.Fixed(course))
		}
	}
	return out
}

// Table is a whole benchmark: cells by rule, setting and scenario.
type Table struct {
	Settings []Setting
	Rules    []Rule
	Cells    map[string]Cell
}

func key(rule, scenario string, at Setting) string { return rule + "|" + scenario + "|" + at.String() }

// Cell of a rule in a scenario.
func (t *Table) Cell(rule, scenario string, at Setting) Cell { return t.Cells[key(rule, scenario, at)] }

// Rules that are measured.
func Rules() []Rule { return append(Peers(), Belay()...) }

// Column measures one setting, and says on progress how far it is. The answer has the cells by rule and scenario.
func Column(at Setting, seeds Seeds, workers int, progress io.Writer) map[string]Cell {
	all, out := Rules(), map[string]Cell{}
	hard := slices.DeleteFunc(slices.Clone(all), func(r Rule) bool { return !strings.HasPrefix(r.Name, "Belay, α 0.01") })
	for i, s := range slices.Concat(Good, Bad, Stress) {
		rules := all
		if i >= len(Good)+len(Bad) {
			rules = hard
		}
		for k, c := range measure(rules, s, at, seeds, workers) {
			out[key(rules[k].Name, s.Name, at)] = c
		}
		fmt.Fprintf(progress, "%s, seeds %d to %d: %s\n", at, seeds.From, seeds.To-1, s.Name)
	}
	return out
}

// Add adds what was measured of other seeds.
func (t *Table) Add(cells map[string]Cell) {
	for k, c := range cells {
		t.Cells[k] = t.Cells[k].plus(c)
	}
}

func (c Cell) plus(d Cell) Cell {
	return Cell{Runs: c.Runs + d.Runs, Halted: c.Halted + d.Halted, Promoted: c.Promoted + d.Promoted, Minutes: slices.Concat(c.Minutes, d.Minutes),
		Exposure: c.Exposure + d.Exposure, Ungated: c.Ungated + d.Ungated}
}

// seeds of a setting.
func (t *Table) seeds(at Setting) int { return t.Cell(ClosedLoop, Good[0].Name, at).Runs }

// sum of several cells.
func (t *Table) sum(rule string, at Setting, scenarios []Scenario, keep func(Scenario) bool) Cell {
	var out Cell
	for _, s := range scenarios {
		if keep != nil && !keep(s) {
			continue
		}
		out = out.plus(t.Cell(rule, s.Name, at))
	}
	return out
}

// worst is the greatest share of halts over scenarios, and its upper bound.
func (t *Table) worst(rule string, at Setting, scenarios []Scenario) (share, upper float64) {
	for _, s := range scenarios {
		c := t.Cell(rule, s.Name, at)
		_, high := Wilson(c.Halted, c.Runs)
		share, upper = max(share, c.Halts()), max(upper, high)
	}
	return share, upper
}

func material(s Scenario) bool { return s.Material }

// Markdown of the table.
func (t *Table) Markdown(w io.Writer) {
	fmt.Fprintln(w, "Shares in %, times in minutes. How many seeds there were for each rule and scenario stands with each table.")
	for _, at := range t.Settings {
		fmt.Fprintf(w, "\n### %s (%d seeds)\n\n", at, t.seeds(at))
		fmt.Fprintln(w, "| rule | good aborted: mean | worst scenario (95 % upper bound) | bad promoted | material promoted (95 % upper bound) | harm | bad halted: median | good promoted: median | good inconclusive |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
		for _, r := range t.Rules {
			good, bad, mat := t.sum(r.Name, at, Good, nil), t.sum(r.Name, at, Bad, nil), t.sum(r.Name, at, Bad, material)
			worst, upper := t.worst(r.Name, at, Good)
			_, missed := Wilson(mat.Promoted, mat.Runs)
			fmt.Fprintf(w, "| %s | %s | %s (%s) | %s | %s (%s) | %s | %s | %s | %s |\n", r.Name, pc(good.Halts()), pc(worst), pc(upper), pc(bad.Promotes()),
				pc(mat.Promotes()), pc(missed), pc(bad.Exposure/bad.Ungated), num(bad.Median()), num(good.Median()),
				pc(float64(good.Runs-good.Halted-good.Promoted)/float64(good.Runs)))
		}
	}
	for _, at := range t.Settings {
		fmt.Fprintf(w, "\n### Bad revisions halted, and the median time: %s\n\n| rule |", at)
		for _, s := range Bad {
			fmt.Fprintf(w, " %s |", s.Name)
		}
		fmt.Fprintf(w, "\n|---%s|\n", strings.Repeat("|---", len(Bad)))
		for _, r := range t.Rules {
			fmt.Fprintf(w, "| %s |", r.Name)
			for _, s := range Bad {
				c := t.Cell(r.Name, s.Name, at)
				fmt.Fprintf(w, " %s (%s) |", pc(c.Halts()), num(c.Median()))
			}
			fmt.Fprintln(w)
		}
	}
	t.stress(w)
}

func (t *Table) stress(w io.Writer) {
	fmt.Fprint(w, "\n### Good, and hard to tell: aborted\n\n| scenario |")
	var columns []string
	for _, r := range t.Rules {
		if strings.HasPrefix(r.Name, "Belay, α 0.01") {
			columns = append(columns, r.Name)
		}
	}
	sort.Strings(columns)
	for _, at := range t.Settings {
		for _, r := range columns {
			fmt.Fprintf(w, " %s: %s |", strings.TrimPrefix(r, "Belay, α 0.01, "), at)
		}
	}
	fmt.Fprintf(w, "\n|---%s|\n", strings.Repeat("|---", len(columns)*len(t.Settings)))
	for _, s := range Stress {
		fmt.Fprintf(w, "| %s |", s.Name)
		for _, at := range t.Settings {
			for _, r := range columns {
				fmt.Fprintf(w, " %s |", pc(t.Cell(r, s.Name, at).Halts()))
			}
		}
		fmt.Fprintln(w)
	}
}

func pc(share float64) string { return fmt.Sprintf("%.1f", 100*share) }

func num(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.1f", x)
}
