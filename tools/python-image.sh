#!/usr/bin/env bash
# Builds the example base image: Python 3 with Pillow, from Debian packages.
#
#   tools/python-image.sh [IMAGE.tar]     default: where prytany looks for it
#
# The image is a tar of an OCI image layout. The same package versions give the
# same bytes, whoever builds it and when. PRYTANY names the program that packs
# it, if it is not on the PATH.
#
# It needs root and mmdebstrap (Debian package mmdebstrap), and takes the
# packages from the machine's own sources. SUITE says which (bookworm).
set -euo pipefail

image=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/prytany/images/python-pillow.tar}
prytany=${PRYTANY:-prytany}
command -v "$prytany" >/dev/null || { echo "python-image: there is no $prytany. Next: make build, and PRYTANY=bin/prytany" >&2; exit 2; }
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

mmdebstrap --quiet --mode=root --variant=extract --format=tar \
	--include="python3-minimal,lib$python-stdlib,python3-pil,$python-minimal,dash" "$suite" "$work/raw.tar"
mkdir "$work/root"
tar -C "$work/root" -xf "$work/raw.tar"
cd "$work/root"
find dev -mindepth 1 -delete # a container gets its own
ln -sf "$python" usr/bin/python3

# What no program in it needs. The list of packages stays, with their licences,
# so that anyone can say what is in the image.
rm -rf var/cache/* var/log/* var/lib/apt usr/share/man usr/share/locale usr/share/lintian usr/share/bug usr/share/zoneinfo etc/apt \
	usr/share/perl* usr/lib/*/{perl,perl5,perl-base} usr/bin/perl* usr/lib/*/libperl* usr/lib/*/gconv "usr/lib/$python/pydoc_data" "usr/lib/$python/lib2to3" \
	etc/machine-id etc/resolv.conf etc/hostname
find usr/share/doc -type f ! -name copyright -delete
find . -name __pycache__ -prune -exec rm -rf {} +

# Compiled once, since nothing can be kept at run time; tied to the source by
# nothing that an image does not keep, such as times.
PYTHONHASHSEED=0 chroot . "/usr/bin/$python" -m compileall -q -j 1 --invalidation-mode unchecked-hash "/usr/lib/$python" /usr/lib/python3 || true
cd - >/dev/null
tar -C "$work/root" -cf "$work/root.tar" . # prytany sorts it, and takes owners and times out
"$prytany" func build --rootfs "$work/root.tar" --out "$image" -- python3
