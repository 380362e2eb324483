// Command bench writes the table of docs/verdicts.md: `make bench-verdicts`.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/belay-delivery/belay/test/verdicts"
)

const begin, end = "<!-- begin: make bench-verdicts -->", "<!-- end: make bench-verdicts -->"

func main() {
	seeds := flag.Int("seeds", 1000, "seeds for each rule, scenario and column")
	page := flag.String("page", "docs/verdicts.md", "page whose table is written anew; - prints it")
	dir := flag.String("dir", "build/verdicts", "folder that keeps what was measured: what is there is not measured again. Remove it when rules or generator change")
	only := flag.Bool("write", false, "write the page from what is in the folder, and measure nothing")
	flag.Parse()
	if err := run(*seeds, *page, *dir, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench-verdicts:", err)
		os.Exit(1)
	}
}

// columns in the order in which they are measured, and in that of the page.
var (
	measured = []verdicts.Setting{{RPS: 100}, {RPS: 100, Native: true}, {RPS: 10}, {RPS: 1000}, {RPS: 1}}
	printed  = []verdicts.Setting{{RPS: 1}, {RPS: 10}, {RPS: 100}, {RPS: 1000}, {RPS: 100, Native: true}}
)

// chunk is how many seeds are measured of a column before the next column's turn: a benchmark that is cut off has something of
// each, and goes on where it was.
const chunk = 50

func run(seeds int, page, dir string, only bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	table := &verdicts.Table{Settings: printed, Rules: verdicts.Rules(), Cells: map[string]verdicts.Cell{}}
	for from := 0; from < seeds; from += chunk {
		for _, at := range measured {
			cells, err := column(at, verdicts.Seeds{From: from, To: min(seeds, from+chunk)}, dir, only)
			if err != nil {
				return err
			}
			table.Add(cells)
		}
	}
	return write(table, page)
}

// column of a setting, from the folder where it is there.
func column(at verdicts.Setting, seeds verdicts.Seeds, dir string, only bool) (map[string]verdicts.Cell, error) {
	began := time.Now()
	file := filepath.Join(dir, fmt.Sprintf("%s, %d to %d.json", at, seeds.From, seeds.To-1))
	raw, err := os.ReadFile(file)
	if err == nil {
		var cells map[string]verdicts.Cell
		return cells, json.Unmarshal(raw, &cells)
	}
	if !errors.Is(err, fs.ErrNotExist) || only {
		return nil, ignoreMissing(err)
	}
	cells := verdicts.Column(at, seeds, runtime.GOMAXPROCS(0), os.Stderr)
	fmt.Fprintf(os.Stderr, "%s took %s\n", at, time.Since(began).Round(time.Second))
	if raw, err = json.Marshal(cells); err != nil {
		return nil, err
	}
	return cells, os.WriteFile(file, raw, 0o644)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func write(table *verdicts.Table, page string) error {
	var tables bytes.Buffer
	table.Markdown(&tables)
	if page == "-" {
		_, err := os.Stdout.Write(tables.Bytes())
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	from, to := bytes.Index(text, []byte(begin)), bytes.Index(text, []byte(end))
	if from < 0 || to < from {
		return fmt.Errorf("%s has no lines %q and %q", page, begin, end)
	}
	out := append(bytes.Clone(text[:from+len(begin)]), '\n', '\n')
	out = append(append(append(out, tables.Bytes()...), '\n'), text[to:]...)
	return os.WriteFile(page, out, 0o644)
}
