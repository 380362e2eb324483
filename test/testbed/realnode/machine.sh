#!/usr/bin/env bash
# machine.sh COMMAND…: runs a command as the first process of a machine of its own: mounts, processes, host name, IPC and control
# groups are private; the network is the testbed's affair. Everything that it starts ends with it. Needs root.
set -euo pipefail
name=belay-e2e-node-$$
groups=()
# Own control groups, below those that we are in, for each hierarchy there is (version 1, 2, or both).
while IFS=: read -r _ controllers path; do
  case $controllers in
    "") base=/sys/fs/cgroup/unified; [ -d $base ] || base=/sys/fs/cgroup ;;
    name=*) base=/sys/fs/cgroup/${controllers#name=} ;;
    *) base=/sys/fs/cgroup/$controllers ;;
  esac
  [ -d "$base" ] || continue
  group=$base${path%/}/$name
  mkdir -p "$group"
  groups+=("$base${path%/}|$group")
  if [ "$controllers" = cpuset ]; then
    cat "$base$path/cpuset.cpus" > "$group/cpuset.cpus"
    cat "$base$path/cpuset.mems" > "$group/cpuset.mems"
  fi
  echo $$ > "$group/cgroup.procs"
done < /proc/self/cgroup
result=0
unshare --mount --pid --uts --ipc --cgroup --fork --kill-child --mount-proc --propagation private bash -c '
set -euo pipefail
hostname belay-node
for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
  if [ -d /sys/fs/cgroup/$c ]; then umount /sys/fs/cgroup/$c && mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; fi
done
if [ -d /sys/fs/cgroup/systemd ]; then umount /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd; fi
if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified; fi
mkdir -p /var/lib/cni
for d in /run /var/lib/cni /var/log; do mount -t tmpfs tmpfs $d; done
exec "$@"' -- "$@" || result=$?
for g in "${groups[@]}"; do echo $$ > "${g%|*}/cgroup.procs" || true; done
for g in "${groups[@]}"; do find "${g#*|}" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
exit $result
