"""``xcrun``, and ``xcode-select -p``: finds the tool, unless Xcode is not as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import devicectl
import simctl
import world

VERSIONS = {26: "Xcode 26.1\nBuild version 17B55\n", 27: "Xcode 27.0\nBuild version 18A310\n"}
LICENCE = (
    "You have not agreed to the Xcode license agreements. Please run 'sudo xcodebuild -license' from within a "
    "Terminal window to review and agree to the Xcode and Apple SDKs license."
)


def main(words: list[str]) -> int:
    faults = world.read()["faults"]
    if words[:1] == ["--xcode-select"]:
        if "no-xcode" in faults:
            world.fail(
                2, "xcode-select: error: unable to get active developer directory, use `sudo xcode-select --switch`"
            )
        sys.stdout.write(f"/Applications/Xcode-{world.read()['xcode']}.app/Contents/Developer\n")
        return 0
    tool = words[0] if words else ""
    if "no-xcode" in faults:
        world.fail(72, f'xcrun: error: unable to find utility "{tool}", not a developer tool or in PATH')
    if "licence" in faults:
        world.fail(69, LICENCE)
    if tool == "xcodebuild" and words[1:] == ["-version"]:
        sys.stdout.write(VERSIONS[world.read()["xcode"]])
        return 0
    if tool not in ("simctl", "devicectl"):
        world.fail(72, f'xcrun: error: unable to find utility "{tool}", not a developer tool or in PATH')
    return {"simctl": simctl, "devicectl": devicectl}[tool].main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
