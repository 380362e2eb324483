package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Key identifies the content of part p as its sources below root (the testbed's folder) stand: 16 hexadecimal digits.
func Key(root string, p Part) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s %s/%s\n%s\n%s\n%s\n%s\n", p.Name, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.Package, p.Tags, p.LDFlags, p.Want)
	module := filepath.Join(root, p.Module)
	for _, source := range append([]string{"go.mod", "go.sum"}, p.Sources...) {
		if err := hashTree(h, module, source); err != nil {
			return "", fmt.Errorf("computing the key of %s: %w", p.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// hashTree adds a file, or all files of a folder that go into a build, each with its name and its size.
func hashTree(w io.Writer, module, source string) error {
	return filepath.WalkDir(filepath.Join(module, source), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(module, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s %d\n%s", filepath.ToSlash(name), len(text), text)
		return err
	})
}

// FindRoot returns the testbed's folder: $BELAY_TESTBED_SRC, or the nearest one at or above the current folder or the program.
func FindRoot() (string, error) {
	if dir := os.Getenv("BELAY_TESTBED_SRC"); dir != "" {
		return dir, nil
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			for _, candidate := range []string{dir, filepath.Join(dir, "test", "testbed")} {
				if isRoot(candidate) {
					return candidate, nil
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("the testbed's sources are not at or above the current folder; set BELAY_TESTBED_SRC")
}

func isRoot(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(text), "module github.com/belay-delivery/belay/test/testbed\n")
}
