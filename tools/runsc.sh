#!/usr/bin/env bash
# Builds runsc, the OCI runtime of gVisor, from its Go module at the version
# that Prytany is tested with.
#
#   tools/runsc.sh [DIR]
#
# DIR is ~/.cache/prytany/bin unless you say otherwise; `prytany` looks there
# too. Takes about four minutes, and does nothing if it is there already.
set -euo pipefail

version=v0.0.0-20260905035102-160fafc42237
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/prytany/bin}

if [ -x "$dir/runsc" ] && go version -m "$dir/runsc" 2>/dev/null | grep "gvisor.dev/gvisor[[:space:]]$version" >/dev/null; then
	echo "$dir/runsc is there, version $version"
	exit
fi

# A module of its own: none of runsc's requirements become ours.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<END
module runsc

go 1.26
END
export CGO_ENABLED=0 GOFLAGS=-mod=mod
go get "gvisor.dev/gvisor/runsc@$version"
go build -trimpath -ldflags "-s -w -X gvisor.dev/gvisor/runsc/version.version=${version##*-}" -o runsc gvisor.dev/gvisor/runsc
mkdir -p "$dir"
mv runsc "$dir/runsc.new"
mv "$dir/runsc.new" "$dir/runsc"
echo "$dir/runsc, version $version"
