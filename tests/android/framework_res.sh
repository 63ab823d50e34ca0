#!/usr/bin/env bash
# Fetches what aapt2 links resources against, Android's own framework-res.apk as Debian trixie packages it (19 MB), into
# a folder of its own; nothing outside that folder is changed, nothing is installed.
#
#   framework_res.sh [FOLDER]          FOLDER defaults to build/android in this project
set -euo pipefail

folder=$(realpath -m "${1:-$(dirname "$0")/../../build/android}")
if [ -e "$folder/framework-res.apk" ]; then
    echo "framework-res.apk is in $folder"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "This needs Debian's apt-get and dpkg-deb" >&2
    exit 6
fi

# the mirror that this machine uses for its own packages
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } | grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1)
test -n "$mirror" || { echo "No Debian mirror is in /etc/apt" >&2; exit 6; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$folder"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/trixie.list"
options=(-q -o "Dir::Etc::sourcelist=$work/trixie.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update
(cd "$work" && apt-get "${options[@]}" download android-framework-res && dpkg-deb -x ./*.deb .)
mv "$work/usr/share/android-framework-res/framework-res.apk" "$folder/"
echo "framework-res.apk is in $folder"
