package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Root is the root folder of the repository that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "config", "crd", "embed.go")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("looking for the repository: no parent folder holds config/crd")
		}
	}
}

// BuildTestbed builds the testbed's command into folder bin.
func BuildTestbed(ctx context.Context, root, bin string) error {
	return goBuild(ctx, filepath.Join(root, "test", "testbed"), filepath.Join(bin, "testbed"), "./cmd/testbed")
}

// Build builds Belay and its plugin into folder bin.
func Build(ctx context.Context, root, bin string) error {
	for _, name := range []string{"belay", "kubectl-belay"} {
		if err := goBuild(ctx, root, filepath.Join(bin, name), "./cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}

func goBuild(ctx context.Context, dir, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
	}
	return nil
}
