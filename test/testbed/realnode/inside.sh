#!/usr/bin/env bash
# inside.sh: what run.sh does inside the machine: a testbed without a node, a kubelet in its network, and the tests.
set -euo pipefail
bin=$BELAY_NODE_BIN dir=$BELAY_NODE_DIR root=$BELAY_ROOT
export PATH=$bin:$PATH
testbed=$root/build/bin/testbed bed=$dir/bed
say() { printf '\n=== %s (%s)\n' "$*" "$(date +%T)"; }

say "starting the testbed"
"$testbed" up --dir "$bed" --parts git,controlplane,gateway,prometheus --detach
trap '"$testbed" down --dir "$bed" || true' EXIT
inside() { "$testbed" exec --dir "$bed" -- "$@"; }

mkdir -p "$dir/net.d" "$dir/pods" "$dir/kubelet"
cat > "$dir/net.d/10-bridge.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
 "ipam": {"type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{"subnet": "10.89.0.0/16"}]]}}]}
END
cat > "$dir/containerd.toml" <<END
version = 3
root = "$dir/containerd/root"
state = "$dir/containerd/state"
[grpc]
  address = "$dir/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "registry.local/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$bin/cni"]
    conf_dir = "$dir/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "$bin/unfiltered"
END
cat > "$dir/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix://$dir/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
failSwapOn: false
resolvConf: ""
clusterDNS: [10.96.0.10]
oomScoreAdj: 0
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: "100Mi", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
podLogsDir: $dir/pods
readOnlyPort: 0
END

say "starting containerd and the kubelet"
inside ip link add node0 type veth peer name node1
inside ip addr add 10.88.0.1/24 dev node0
inside ip link set node0 up
inside ip link set node1 up
inside ip route add default dev node0 || true
inside sysctl -qw net.ipv4.ip_forward=1 || true
inside containerd -c "$dir/containerd.toml" > "$dir/containerd.log" 2>&1 &
for _ in $(seq 100); do inside ctr -a "$dir/containerd.sock" version > /dev/null 2>&1 && break; sleep .1; done
for image in pause sample; do inside ctr -a "$dir/containerd.sock" -n k8s.io images import "$dir/$image.tar" > /dev/null; done
inside bash -c 'exec kubelet --config "$0/kubelet.yaml" --kubeconfig "$KUBECONFIG" --hostname-override node-0 --node-ip 10.88.0.1 --root-dir "$0/kubelet" --cert-dir "$0/kubelet/pki"' "$dir" > "$dir/kubelet.log" 2>&1 &

say "the tests: $BELAY_TESTS"
cd "$root"
inside bash -c 'export GOPROXY=off BELAY_TEST_REQUIRE=1 BELAY_TEST_KUBECONFIG=$KUBECONFIG BELAY_E2E_TESTBED=$0/bed BELAY_E2E_BIN=$1/build/bin BELAY_E2E_WORK=$0/work
for _ in $(seq 300); do grep -q "Node became ready\|node became ready\|Recording.*NodeReady" "$0/kubelet.log" && break; sleep .2; done
"$3" kubectl get nodes -o wide
exec go test -count=1 -v -timeout 20m ./test/e2e -run "^($2)\$"' "$dir" "$root" "$BELAY_TESTS" "$("$testbed" build | awk '$1 == "kubebox" { print $2 }')"
