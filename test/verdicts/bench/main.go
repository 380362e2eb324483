// Command bench writes the table of docs/verdicts.md: `make bench-verdicts`.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/belay-delivery/belay/test/verdicts"
)

const begin, end = "<!-- begin: make bench-verdicts -->", "<!-- end: make bench-verdicts -->"

func main() {
	seeds := flag.Int("seeds", 1000, "seeds for each rule, scenario and column")
	page := flag.String("page", "docs/verdicts.md", "page whose table is written anew; - prints it")
	flag.Parse()
	if err := run(*seeds, *page); err != nil {
		fmt.Fprintln(os.Stderr, "bench-verdicts:", err)
		os.Exit(1)
	}
}

func run(seeds int, page string) error {
	began := time.Now()
	var settings []verdicts.Setting
	for _, rps := range []float64{1, 10, 100, 1000} {
		settings = append(settings, verdicts.Setting{RPS: rps})
	}
	settings = append(settings, verdicts.Setting{RPS: 100, Native: true})
	var table bytes.Buffer
	verdicts.Run(seeds, runtime.GOMAXPROCS(0), settings, os.Stderr).Markdown(&table)
	fmt.Fprintf(os.Stderr, "took %s\n", time.Since(began).Round(time.Second))
	if page == "-" {
		_, err := os.Stdout.Write(table.Bytes())
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
	out = append(append(append(out, table.Bytes()...), '\n'), text[to:]...)
	return os.WriteFile(page, out, 0o644)
}
