// Package realnode holds what `make e2e-node` needs: a real kubelet with containerd and runc in place of the testbed's own node
// agent, in private namespaces of one machine. It needs root. run.sh builds the parts (kubelet/ and parts/ are modules that pin
// them), makes a machine of its own (machine.sh), starts a testbed without a node in it, and a kubelet beside that, and runs
// the core of the end-to-end suite against real containers.
package realnode
