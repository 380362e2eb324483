// Command unfiltered runs runc without system call filters: a runc that was built without libseccomp, a C library that need not be
// on the machine, refuses bundles that ask for one. It takes them out of the bundle and becomes the runc beside it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "unfiltered:", err)
		os.Exit(1)
	}
}

func run() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding runc: %w", err)
	}
	runc := filepath.Join(filepath.Dir(self), "runc")
	if i := slices.Index(os.Args, "--bundle"); i >= 0 && i+1 < len(os.Args) {
		if err := open(filepath.Join(os.Args[i+1], "config.json")); err != nil {
			return err
		}
	}
	return syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ())
}

// open takes the filter out of a bundle's configuration.
func open(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the bundle: %w", err)
	}
	var config map[string]json.RawMessage
	var linux map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(config["linux"], &linux); err != nil {
		return fmt.Errorf("reading linux of %s: %w", path, err)
	}
	delete(linux, "seccomp")
	if config["linux"], err = json.Marshal(linux); err == nil {
		data, err = json.Marshal(config)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, data, 0o600)
}
