package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	named   = regexp.MustCompile(`(?:func |t\.Run\(")Test((?:G\d\d_)+)`)
	id      = regexp.MustCompile(`G\d\d`)
	row     = regexp.MustCompile(`(?m)^\| G-(\d\d) \|.*\| (.*) \|$`)
	claimed = regexp.MustCompile("`Test((?:G\\d\\d_)+)[^`]*`((?:, `Test[^`]*`)*)(?: \\(([^)]*)\\))?")
)

// TestRequirementsPage: every test that is named after a requirement has a row in docs/requirements.md, and every package that a
// row names has such tests.
func TestRequirementsPage(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "requirements.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string]bool{} // requirement, package
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "testbed") {
			return skip(err)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, found := range named.FindAllSubmatch(source, -1) {
			for _, g := range id.FindAllString(string(found[1]), -1) {
				if tests[g] == nil {
					tests[g] = map[string]bool{}
				}
				tests[g][filepath.ToSlash(folder)] = true
			}
		}
		return nil
	})
	if err != nil || len(tests) < 30 {
		t.Fatalf("tests of %d requirements, %v", len(tests), err)
	}
	rows := map[string]bool{}
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		rows["G"+found[1]] = true
		for _, claim := range claimed.FindAllStringSubmatch(found[2], -1) {
			for _, g := range id.FindAllString(claim[1], -1) {
				for folder := range strings.SplitSeq(claim[3], ", ") {
					if folder != "" && folder != "`make demo`" && !tests[g][folder] {
						t.Errorf("row G-%s: package %s has no test named %s_…", found[1], folder, g)
					}
				}
			}
		}
	}
	for g, folders := range tests {
		if !rows[g] && g != "G16" { // said in the text: a part of it
			t.Errorf("requirement %s has tests in %v and no row in docs/requirements.md", g, folders)
		}
	}
}

func skip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}
