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

# Unpacked only: no script of a package is run, and nothing is configured.
mmdebstrap --quiet --mode=root --variant=extract --format=tar \
	--include="python3-minimal,lib$python-stdlib,python3-pil,$python-minimal" \
	"$suite" "$work/raw.tar"
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$work/raw.tar"

# What no program here needs, and what differs between machines.
rm -rf "$root"/var/{cache,log} "$root"/var/lib/{apt,dpkg} "$root"/etc/apt \
	"$root"/usr/share/{doc,man,locale,lintian,bug,perl,perl5,zoneinfo} \
	"$root"/usr/lib/*/{perl,perl5,perl-base,gconv} "$root"/usr/bin/perl* "$root"/usr/lib/*/libperl* \
	"$root"/etc/{machine-id,resolv.conf,hostname}
find "$root/dev" -mindepth 1 -delete
find "$root" -name __pycache__ -prune -exec rm -rf {} +

# Python reads sources slowly. Compiled, they are tied to their source by its
# hash and not by its time, which an image does not keep, and nobody checks it
# at run time. Tests and tools of Python's own are no sources that anyone imports.
PYTHONHASHSEED=0 chroot "$root" "/usr/bin/$python" -m compileall -q -j 1 \
	--invalidation-mode unchecked-hash "/usr/lib/$python" /usr/lib/python3
tar -C "$work/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=pax \
	--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$rootfs" .
echo "$rootfs: $(sha256sum <"$rootfs" | cut -d' ' -f1)"

if [ -n "$image" ]; then
	prytany func build --rootfs "$rootfs" --out "$image"
fi
