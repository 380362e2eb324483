package parts

import (
	"context"
	"fmt"

	"sigs.k8s.io/gateway-api/pkg/consts"
)

// Names of the parts.
const (
	Kubebox    = "kubebox"
	Traefik    = "traefik"
	Prometheus = "prometheus"
	CRDs       = "gateway-crds"
	Sample     = "sample"
)

const (
	kubernetesVersion = "1.37.2"
	traefikVersion    = "3.7.13"
	prometheusVersion = "3.16.0" // module v0.316.0
	legoVersion       = "v5.4.1"
)

// Part is one thing that the testbed needs and that can be built.
type Part struct {
	Name    string
	Module  string   // folder of its module, relative to the testbed's
	Package string   // main package; empty for a part that is files only
	Tags    string   // build tags
	LDFlags string   // linker flags
	Sources []string // what else decides on its content: files and folders, relative to the module
	Version []string // arguments that make it print its version
	Want    string   // what it then prints, among other things; empty accepts whatever runs
	Usual   string   // how long a build from nothing usually takes
	OnPath  bool     // a program of that name and version on PATH will do

	prepare func(ctx context.Context, b *Builder, p Part) error             // run before a build
	fetch   func(ctx context.Context, b *Builder, p Part, out string) error // makes a part of files in folder out
}

// All returns every part, in the order in which they are best built.
func All() []Part {
	return []Part{crds(), sample(), kubebox(), traefik(), prometheus()}
}

func kubebox() Part {
	v := "k8s.io/component-base/version."
	return Part{
		Name: Kubebox, Module: "controlplane", Package: "./cmd/kubebox", Sources: []string{"cmd", "internal"},
		LDFlags: fmt.Sprintf("-s -w -X %sgitVersion=v%s -X %sgitMajor=1 -X %sgitMinor=37 -X %sgitTreeState=clean", v, kubernetesVersion, v, v, v),
		Version: []string{"version"}, Want: "kubernetes v" + kubernetesVersion,
		Usual: "about 11 min on 2 idle cores",
	}
}

func traefik() Part {
	return Part{
		Name: Traefik, Module: "traefik", Package: "github.com/traefik/traefik/v3/cmd/traefik", Sources: []string{"ext", "goauth", "nodns.go.txt"},
		LDFlags: "-s -w -X github.com/traefik/traefik/v3/pkg/version.Version=" + traefikVersion,
		Version: []string{"version"}, Want: traefikVersion, OnPath: true,
		Usual: "about 7 min on 2 idle cores", prepare: prepareLego,
	}
}

func prometheus() Part {
	return Part{
		Name: Prometheus, Module: "prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus",
		Tags:    "remove_all_sd,enable_kubernetes_sd",
		LDFlags: "-s -w -X github.com/prometheus/common/version.Version=" + prometheusVersion,
		Version: []string{"--version"}, Want: "version " + prometheusVersion, OnPath: true,
		Usual: "about 4 min on 2 idle cores",
	}
}

func sample() Part {
	return Part{
		Name: Sample, Module: ".", Package: "./app", Sources: []string{"app"}, LDFlags: "-s -w",
		Version: []string{"--version"}, Want: "sample", Usual: "half a minute",
	}
}

func crds() Part {
	return Part{Name: CRDs, Module: ".", Want: consts.BundleVersion, Usual: "seconds", fetch: fetchCRDs}
}
