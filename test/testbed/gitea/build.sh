#!/usr/bin/env bash
# Builds Gitea from its Go module, once: a real forge for `make test-forge`. 15 minutes on two idle cores; needs a C compiler
# (SQLite). The binary is kept in the cache folder, by version and Go's version, next to the folder of templates it reads.
set -euo pipefail
version=v1.26.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/belay/gitea-$version-$(go env GOVERSION)
[ "${1:-}" != --path ] || { echo "$cache"; exit 0; }
[ ! -x "$cache/gitea" ] || { echo "gitea: $cache/gitea is there"; exit 0; }
command -v "${CC:-gcc}" > /dev/null || { echo "gitea: a C compiler is needed for SQLite" >&2; exit 1; }
mkdir -p "$cache"
exec 9> "$cache/.lock"
flock -n 9 || { echo "gitea: somebody else is building it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'module belay.dev/gitea\n\ngo 1.26.0\n' > "$work/go.mod"
# The go command checks the module against the checksum database; its own go.sum then pins what it is built with.
source=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "code.gitea.io/gitea@$version" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
[ -d "$source" ] || { echo "gitea: the module is not to be had" >&2; exit 1; }
echo "gitea: building $version (about 15 minutes of two idle cores)"
cd "$source" # without the front end: its API needs none
CGO_ENABLED=1 GOFLAGS="-trimpath -buildvcs=false -mod=readonly" nice -n 19 go build -p "${GITEA_JOBS:-2}" \
  -tags "sqlite sqlite_unlock_notify" -ldflags "-s -w -X main.Version=${version#v}" -o "$cache/gitea.new" .
ln -sfn "$source" "$cache/source"
mv "$cache/gitea.new" "$cache/gitea"
"$cache/gitea" --version
