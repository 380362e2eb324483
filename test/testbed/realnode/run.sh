#!/usr/bin/env bash
# run.sh [TESTS]: the core of the end-to-end suite on a real kubelet with containers. TESTS is a regular expression of go test.
# KEEP=1 leaves the folder with its logs behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
tests=${1:-'TestPromotionLosesNoRequest|TestAbortInTheBakeStartsNoPod|TestDecisions|TestPodFailureExposesNobody|TestAdoptionAndReleaseLoseNothing'}
if [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: make e2e-node needs root, for namespaces, control groups and containers. Nothing was tested."
  exit 0
fi
export GOFLAGS="-trimpath -buildvcs=false"
say() { printf '\n=== %s (%s)\n' "$*" "$(date +%T)"; }

key=$(cat "$here"/*/go.sum <(go version) | sha256sum | cut -c1-16)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/belay/realnode-$key
mkdir -p "$bin/cni"
build() { # FOLDER CGO TAGS PACKAGE OUT
  [ -x "$5" ] && return
  say "building $(basename "$5")"
  (cd "$here/$1" && CGO_ENABLED=$2 go build -p 2 -tags "$3" -ldflags "-s -w" -o "$5.tmp" "$4" && mv "$5.tmp" "$5")
}
containerd=github.com/containerd/containerd/v2/cmd
build kubelet 0 "" k8s.io/kubernetes/cmd/kubelet "$bin/kubelet"
build parts 0 "no_btrfs no_devmapper no_zfs no_aufs" $containerd/containerd "$bin/containerd"
build parts 0 "" $containerd/containerd-shim-runc-v2 "$bin/containerd-shim-runc-v2"
build parts 0 "" $containerd/ctr "$bin/ctr"
build parts 1 "" github.com/opencontainers/runc "$bin/runc" # needs a C compiler; without libseccomp, see unfiltered
for plugin in main/bridge main/loopback ipam/host-local; do
  build parts 0 "" "github.com/containernetworking/plugins/plugins/$plugin" "$bin/cni/$(basename $plugin)"
done

say "building Belay, the testbed and the images"
own=$root/build/bin
mkdir -p "$own"
export CGO_ENABLED=0
(cd "$root/test/testbed" && go build -o "$own/testbed" ./cmd/testbed && go build -o "$bin/image" ./realnode/image && go build -o "$bin/pause" ./realnode/pause && go build -o "$bin/unfiltered" ./realnode/unfiltered)
"$own/testbed" build
(cd "$root" && go build -o "$own/" ./cmd/... && go vet ./test/e2e)
dir=$(mktemp -d /tmp/belay-e2e-node.XXXXXX)
"$bin/image" "$dir/pause.tar" "$bin/pause" registry.local/pause:1
sample=$(find "${XDG_CACHE_HOME:-$HOME/.cache}/belay" -maxdepth 2 -path '*/sample-*/*' -type f -perm -u+x -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
"$bin/image" "$dir/sample.tar" "$sample" docker.io/library/sample:v{0,1,2,3}

result=0
BELAY_NODE_BIN=$bin BELAY_NODE_DIR=$dir BELAY_ROOT=$root BELAY_TESTS=$tests "$here/machine.sh" "$here/inside.sh" || result=$?
if [ $result != 0 ]; then
  say "the last lines of the logs in $dir"
  tail -n 15 "$dir"/*.log || true
fi
[ -n "${KEEP:-}" ] || rm -rf "$dir"
exit $result
