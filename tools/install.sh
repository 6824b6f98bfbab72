#!/usr/bin/env bash
# Installs what Prytany can use and does not need: on Debian, as root.
#
#   tools/install.sh [all | apt | oci | python | image]
#
#   apt     crun, swtpm, mmdebstrap, and npm if there is none; docker.io and
#           podman, whose services are not started: tests start their own
#   oci     runsc, built from its module (tools/runsc.sh, about four minutes)
#   python  the interpreter of the python runtime (tools/python-wasi.sh)
#   image   the demo's container image (tools/python-image.sh)
#
# What is there already is left as it is. `prytany doctor` says what is missing
# for what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

apt() {
	local want=() p
	for p in crun swtpm swtpm-tools mmdebstrap docker.io podman; do
		dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -qx 'install ok installed' || want+=("$p")
	done
	command -v npm >/dev/null || want+=(npm)
	if [ ${#want[@]} -gt 0 ]; then
		# The word of Debian's own scripts for "start no service".
		local policy=/usr/sbin/policy-rc.d
		if [ ! -e $policy ]; then
			printf '#!/bin/sh\nexit 101\n' >$policy
			chmod +x $policy
			trap 'rm -rf "$work" '$policy EXIT
		fi
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null
	fi
	echo "Debian packages: crun swtpm mmdebstrap docker.io podman"
}

oci() { tools/runsc.sh; }

python() { tools/python-wasi.sh; }

image() {
	local to=${XDG_CACHE_HOME:-$HOME/.cache}/prytany/images/python-pillow.tar
	if [ ! -f "$to" ]; then
		CGO_ENABLED=0 go build -o "$work/prytany" ./cmd/prytany
		PRYTANY=$work/prytany tools/python-image.sh
	fi
	echo "$to"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
what=("$@")
if [ ${#what[@]} -eq 0 ] || [ "${what[0]}" = all ]; then what=(apt oci python image); fi
for w in "${what[@]}"; do
	case $w in
	apt | oci | python | image) "$w" ;;
	*)
		echo "install: $w is none of all, apt, oci, python, image" >&2
		exit 2
		;;
	esac
done
