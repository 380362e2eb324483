package main

import (
	"context"
	"fmt"
	"maps"
	"path"

	"github.com/belay-delivery/belay/test/stage"
)

const kustomization = "kustomization.yaml"

// overlay is what an environment says for itself: its namespace, its version, where it is reached, what it asks, and which folder
// a bad version is taken back in.
const overlay = `# %[1]s: what differs from the base.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: %[1]s
resources: [../../base]
images:
- name: sample
  newTag: v1
patches:
- target: {kind: HTTPRoute, name: checkout}
  patch: |-
    - {op: replace, path: /spec/hostnames/0, value: %[2]s}
- target: {kind: Rollout, name: checkout}
  patch: |-
    - {op: add, path: /spec/onFailure, value: {revert: {repository: fleet, path: %[3]s}}}
    - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: PAYMENTS, value: %[4]q}}
`

// images are the versions: what differs between them is in the image, and nowhere else.
var images = map[string]string{
	"v1": "", "v2": "",
	"v3": "ERROR_RATE=0.1",
	"v4": "DEPENDENCY=$PAYMENTS",
}

// prepare makes images, namespaces, people, the repository, and what follows it.
func (s *environments) prepare(ctx context.Context) error {
	for version, env := range images {
		if err := s.bed.Image("sample:"+version, "VERSION="+version, env); err != nil {
			return err
		}
	}
	if err := s.bed.Namespace(ctx, delivery); err != nil {
		return err
	}
	if err := s.bed.Logins(ctx, delivery, "fleet-read"); err != nil {
		return err
	}
	for _, e := range s.both() {
		if err := s.bed.Environment(ctx, e.name, delivery, e.name+"-deployer"); err != nil {
			return err
		}
		e.app = s.bed.App(e.name, name)
		var err error
		if e.timeline, err = s.bed.Watch(ctx, e.name, name); err != nil {
			return err
		}
	}
	if err := s.bed.Deciders(ctx, delivery, author, approver); err != nil {
		return err
	}
	files, err := s.files(ctx)
	if err != nil {
		return err
	}
	if s.fleet, err = s.bed.NewFleet(ctx, "fleet", stage.Commit{Author: "Ada", Message: "checkout: version 1 in staging and prod", Files: files}); err != nil {
		return err
	}
	for _, e := range s.both() {
		if err := s.bed.Apply(ctx, e.name, map[string]string{"repository.yaml": s.fleet.Declared(true)}); err != nil {
			return err
		}
	}
	return s.bed.Apply(ctx, delivery, map[string]string{"a-repository.yaml": s.fleet.Declared(false), "syncs.yaml": fmt.Sprintf(`
apiVersion: belay.dev/v1alpha1
kind: Sync
metadata: {name: %[1]s}
spec: {repository: fleet, path: %[2]s, environment: staging, serviceAccountName: staging-deployer, prune: Enabled, interval: 1m}
---
apiVersion: belay.dev/v1alpha1
kind: Sync
metadata: {name: %[3]s}
spec:
  repository: fleet
  path: %[4]s
  environment: prod
  serviceAccountName: prod-deployer
  prune: Enabled
  interval: 1m
  gates:
    follows: {sync: %[1]s, soak: %[5]s}
    approvals: {required: 1, notTheAuthor: Enabled}
`, s.staging.sync, s.staging.folder, s.prod.sync, s.prod.folder, soak)})
}

// files are the repository's: a base, which says nothing of versions, and two overlays.
func (s *environments) files(ctx context.Context) (map[string]string, error) {
	base := s.bed.App("base", name)
	base.Image, base.Version = "sample", ""
	base.Steps = []stage.Step{{Name: "first", Weight: 10, Hold: "5s"}, {Name: "half", Weight: 50, Hold: "3s"}}
	files, err := base.Files(path.Join(folder, "base"))
	if err != nil {
		return nil, err
	}
	maps.Copy(files, map[string]string{
		path.Join(folder, "base", "settings.yaml"): "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {currency: " + setting + "}\n",
		path.Join(folder, "base", kustomization): "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
			"resources: [rollout.yaml, service.yaml, httproute.yaml, analysistemplate.yaml, settings.yaml]\n",
	})
	for e, errors := range map[*environment]string{s.staging: "0", s.prod: "0.2"} {
		payments, err := s.bed.StartSample(ctx, "payments-"+e.name, "ERROR_RATE="+errors)
		if err != nil {
			return nil, err
		}
		files[path.Join(e.folder, kustomization)] = fmt.Sprintf(overlay, e.name, e.app.Host, e.folder, payments)
	}
	return files, nil
}
