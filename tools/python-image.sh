#!/usr/bin/env bash
# Builds the example base image: Python 3 with Pillow, from Debian packages.
#
#   tools/python-image.sh [ROOTFS.tar [IMAGE.tar]]
#
# ROOTFS.tar (python-rootfs.tar) is a root file system, IMAGE.tar the OCI image
# layout made of it with `prytany func build`; without a second name it stops
# at the first. The same package versions give the same bytes, whoever runs it
# and when.
#
# It needs root and mmdebstrap (Debian package mmdebstrap), and takes the
# packages from the machine's own sources. SUITE says which (bookworm).
set -euo pipefail

rootfs=${1:-python-rootfs.tar}
image=${2:-}
suite=${SUITE:-bookworm}
export SOURCE_DATE_EPOCH=0 LC_ALL=C

if ! command -v mmdebstrap >/dev/null; then
	echo "python-image: mmdebstrap is not here. Next: apt-get install mmdebstrap" >&2
	exit 2
fi
case $suite in
bookworm) python=python3.11 ;;
trixie) python=python3.13 ;;
*)
	echo "python-image: SUITE is $suite; bookworm and trixie are known" >&2
	exit 2
	;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Compiled modules are tied to their source by its hash and not by its time,
# which an image does not keep, and nobody checks it at run time.
# What is removed then: what no program needs, and what differs between runs.
mmdebstrap --quiet --mode=root --variant=extract --format=tar \
	--include="python3-minimal,lib$python-stdlib,python3-pil,$python-minimal" \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/lintian/*' \
	--dpkgopt='path-exclude=/usr/share/bug/*' \
	--customize-hook='rm -rf "$1"/var/cache "$1"/var/log "$1"/var/lib/apt "$1"/var/lib/dpkg "$1"/etc/apt "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale' \
	--customize-hook='rm -rf "$1"/usr/lib/*/perl* "$1"/usr/share/perl* "$1"/usr/bin/perl* "$1"/usr/lib/*/libperl* "$1"/usr/lib/*/gconv "$1"/usr/share/zoneinfo' \
	--customize-hook='rm -f "$1"/etc/machine-id "$1"/etc/resolv.conf "$1"/etc/hostname; find "$1"/dev -mindepth 1 -delete' \
	--customize-hook="ln -sf $python \"\$1\"/usr/bin/python3; find \"\$1\" -name __pycache__ -prune -exec rm -rf {} +" \
	--customize-hook="chroot \"\$1\" /usr/bin/$python -m compileall -q --invalidation-mode unchecked-hash /usr/lib/$python /usr/lib/python3 || true" \
	"$suite" "$work/raw.tar"

mkdir "$work/root"
tar -C "$work/root" -xf "$work/raw.tar"
tar -C "$work/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=pax \
	--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$rootfs" .
echo "$rootfs: $(sha256sum <"$rootfs" | cut -d' ' -f1)"

if [ -n "$image" ]; then
	prytany func build --rootfs "$rootfs" --out "$image"
fi
