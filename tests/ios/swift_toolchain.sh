#!/usr/bin/env bash
# Sets up Debian trixie's Swift (swiftc, SwiftPM, Swift Testing, swift-format) in a folder of its own; about 3.3 GB, two
# minutes. Nothing outside that folder is changed, except that debootstrap itself is installed where it is missing.
#
#   swift_toolchain.sh [FOLDER]        FOLDER defaults to $PALMTOP_SWIFT, then ~/.cache/palmtop/swift
#
# Afterwards FOLDER/run DIR COMMAND… runs a command of it with DIR as its working folder (seen there as /src).
set -euo pipefail

mirror=http://deb.debian.org/debian
folder=$(realpath -m "${1:-${PALMTOP_SWIFT:-$HOME/.cache/palmtop/swift}}")
ready="$folder/ready"

if [ -e "$ready" ]; then
    echo "Swift is ready in $folder: $(cat "$ready")"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "Setting up a Debian root needs root: sudo $0 $folder" >&2
    exit 6
fi
if ! command -v debootstrap >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "debootstrap is missing: install it with your package manager, then say this again" >&2
        exit 6
    fi
    apt-get update -q
    apt-get install -y -q --no-install-recommends debootstrap
fi

mkdir -p "$folder"
if [ ! -e "$folder/root/etc/debian_version" ]; then
    rm -rf "$folder/root.partial"
    debootstrap --variant=minbase trixie "$folder/root.partial" "$mirror"
    mv "$folder/root.partial" "$folder/root"
fi

cat > "$folder/run" <<'RUN'
#!/usr/bin/env bash
# run DIR COMMAND…: a command of the toolchain beside this file, in DIR; its mounts end with it.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
work=$(realpath "$1")
shift
if [ "$(id -u)" = 0 ]; then user=(); else user=(--map-root-user); fi
exec unshare "${user[@]}" --mount --pid --fork --kill-child bash -c '
    set -e
    root=$1/root work=$2
    shift 2
    mkdir -p "$root/src"
    mount --bind "$work" "$root/src"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        LD_LIBRARY_PATH=/usr/libexec/swift/lib/swift/linux sh -c "cd /src && exec \"\$@\"" sh "$@"
' run "$here" "$work" "$@"
RUN
chmod 0755 "$folder/run"

printf '#!/bin/sh\nexit 101\n' > "$folder/root/usr/sbin/policy-rc.d" && chmod 0755 "$folder/root/usr/sbin/policy-rc.d"
"$folder/run" "$folder" sh -ec '
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends swiftlang libc6-dev libstdc++-14-dev git ca-certificates
    apt-get clean'
"$folder/run" "$folder" swiftc --version 2>&1 | head -n 1 > "$ready.partial"
mv "$ready.partial" "$ready"
echo "Swift is ready in $folder: $(cat "$ready")"
