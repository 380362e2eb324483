// Command mutants breaks the planner and the shell in one place at a time, and shows that the tests notice: a mutant that
// survives is a rule that no test holds. It exits with 1 where one survives, or where the text that a mutant changes is no
// longer there.
//
// Usage: mutants [NAME…], in the repository's root.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// suites are tried in order, the quick ones first; the first that fails kills.
var suites = [][]string{
	{"-short", "./controllers/rollout/planner"},
	{"-run", "Yesterday|AllElse|(CutOff|Stale)/(promotion|deleted-in-the-middle|adoption)$", "./test/faults"},
	{"-run", "Known|Yesterday|Requests/(promotion|superseded|deleted-in-the-middle|adoption)$", "./test/faults"},
	{"./test/simulation"},
	{"-run", "CutOff|Errors|Stale", "./test/faults"},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(names []string) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var left []string
	tried := 0
	for _, m := range mutants {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		tried++
		began := time.Now()
		by, err := m.kill(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if by == "" {
			left = append(left, m.name)
			by = "NOTHING: IT SURVIVES"
		}
		fmt.Printf("%-34s %-6s killed by %s in %s\n", m.name, m.breaks, by, time.Since(began).Round(time.Second))
	}
	if tried == 0 {
		return errors.New("no mutant has such a name")
	}
	fmt.Printf("%d mutants, %d killed\n", tried, tried-len(left))
	if len(left) > 0 {
		return fmt.Errorf("these survive: %v", left)
	}
	return nil
}

// kill returns the suite that fails with the mutant in place; empty where none does.
func (m mutant) kill(dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	file := filepath.Join(root, m.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading what is to be changed: %w", err)
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return "", fmt.Errorf("its text is %d times in %s: bring the mutant up to date", n, m.file)
	}
	changed, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
		return "", fmt.Errorf("writing the mutant: %w", err)
	}
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		return "", fmt.Errorf("encoding the overlay: %w", err)
	}
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}
	if out, err := command("build", "-overlay", overlay, "./controllers/rollout/..."); err != nil {
		return "", fmt.Errorf("it does not compile: %w: %s", err, out)
	}
	for _, s := range suites {
		if _, err := command(append([]string{"test", "-overlay", overlay, "-failfast"}, s...)...); err != nil {
			return s[len(s)-1], nil
		}
	}
	return "", nil
}

func command(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, "go", args...).CombinedOutput()
}
