package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tenant makes what a team needs before its first Sync: a namespace, a ServiceAccount that may write its kinds of objects there
// and nothing else, and the two credentials for the repository, one to read and one to write.
func (b *Bed) Tenant(ctx context.Context, namespace string) error {
	return b.Environment(ctx, namespace, namespace, "shop-deployer")
}

// Environment makes a namespace that is written to by a ServiceAccount of another one (or its own), with the two credentials for the
// repository.
func (b *Bed) Environment(ctx context.Context, namespace, from, account string) error {
	if err := b.Namespace(ctx, namespace); err != nil {
		return err
	}
	if err := b.Logins(ctx, namespace, "fleet-read", "fleet-write"); err != nil {
		return err
	}
	return b.Apply(ctx, namespace, map[string]string{"deployer.yaml": fmt.Sprintf(deployer, from, account)})
}

// Logins makes Secrets with the credentials of the Git server.
func (b *Bed) Logins(ctx context.Context, namespace string, names ...string) error {
	for _, name := range names {
		if err := b.Secret(ctx, namespace, name, map[string]string{"username": b.GitUser, "password": b.GitPassword}); err != nil {
			return err
		}
	}
	return nil
}

const deployer = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[2]s, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer}
rules:
- {apiGroups: [belay.dev], resources: [rollouts, analysistemplates], verbs: [get, create, patch, delete]}
- {apiGroups: [""], resources: [services, configmaps], verbs: [get, create, patch, delete]}
- {apiGroups: [gateway.networking.k8s.io], resources: [httproutes], verbs: [get, create, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects:
- {kind: ServiceAccount, name: %[2]s, namespace: %[1]s}
`

// Deciders lets people write Decisions in a namespace.
func (b *Bed) Deciders(ctx context.Context, namespace string, people ...string) error {
	var subjects strings.Builder
	for _, who := range people {
		fmt.Fprintf(&subjects, "- {apiGroup: rbac.authorization.k8s.io, kind: User, name: %q}\n", who)
	}
	return b.Apply(ctx, namespace, map[string]string{"deciders.yaml": `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deciders}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: belay-decider}
subjects:
` + subjects.String()})
}

// Declared is a Repository that follows the fleet's main branch, and may write to it where that is asked for.
func (f *Fleet) Declared(write bool) string {
	out := fmt.Sprintf(`
apiVersion: belay.dev/v1alpha1
kind: Repository
metadata: {name: fleet}
spec:
  url: %s
  ref: {branch: main}
  interval: 1s
  secretRef: {name: fleet-read}
`, f.URL)
	if write {
		out += `  write:
    secretRef: {name: fleet-write}
    author: {name: Belay, email: belay@example.com}
`
	}
	return out
}

// Follow makes Belay follow a folder of the repository.
func (b *Bed) Follow(ctx context.Context, namespace string, f *Fleet, folder string) error {
	return b.Apply(ctx, namespace, map[string]string{"git.yaml": f.Declared(true) + fmt.Sprintf(`---
apiVersion: belay.dev/v1alpha1
kind: Sync
metadata: {name: shop}
spec: {repository: fleet, path: %s, serviceAccountName: shop-deployer, prune: Enabled, interval: 1m}
`, folder)})
}

// Image makes an image of the sample application that brings settings of its own; they may refer to the container's environment.
func (b *Bed) Image(name string, settings ...string) error {
	dir := filepath.Join(b.Images, strings.NewReplacer("/", "_", ":", "_").Replace(name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making image %s: %w", name, err)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s exec %q \"$@\"\n", strings.Join(settings, " "), b.sample())
	if err := os.WriteFile(filepath.Join(dir, "entrypoint"), []byte(script), 0o755); err != nil {
		return fmt.Errorf("making image %s: %w", name, err)
	}
	return nil
}

func (b *Bed) sample() string { return filepath.Join(b.Images, "sample", "entrypoint") }

// StartSample starts the sample application beside the cluster, as something that applications depend on, and returns its URL.
func (b *Bed) StartSample(ctx context.Context, name string, env ...string) (string, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return "", err
	}
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(b.sample())
	cmd.Env = append(env, "POD_IP="+host, "PORT="+port, "VERSION="+name)
	p, err := b.Ledger.Start(name, filepath.Join(b.Work, "logs", name+".log"), cmd)
	if err != nil {
		return "", err
	}
	url := "http://" + address
	if err := Poll(ctx, name, time.Minute, func(ctx context.Context) error { return answers(ctx, url+"/healthz") }); err != nil {
		return "", fmt.Errorf("%w; the last lines of %s:\n%s", err, p.Log, p.Tail(15))
	}
	return url, nil
}
