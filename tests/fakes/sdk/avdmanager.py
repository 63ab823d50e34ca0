"""Android's avdmanager as far as palmtop uses it: ``create avd``, with its errors' words; it keeps AVDs as files."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def fail(text: str) -> int:
    sys.stderr.write(f"Error: {text}\n")
    return 1


def main(words: list[str]) -> int:
    if words[:1] == ["--silent"]:
        words = words[1:]
    if words[:2] != ["create", "avd"]:
        return fail(f"The command {' '.join(words[:2])} is unknown")
    given = dict(zip(words[2::2], words[3::2], strict=False))
    if len(words) % 2 or set(given) != {"--name", "--package"}:
        return fail(f"Argument is not recognized: {words[2:]}")
    name, image = given["--name"], given["--package"]
    home = Path(os.environ["ANDROID_AVD_HOME"])
    if not Path(os.environ["ANDROID_HOME"], *image.split(";")).is_dir():
        return fail("Package path is not valid. Valid system image paths are:\nnull")
    if (home / f"{name}.ini").exists():
        return fail(f"Android Virtual Device '{name}' already exists and is not overwritten")
    sys.stdout.write("Do you wish to create a custom hardware profile? [no] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() not in ("", "no"):
        return fail("the hardware profile was cut short")
    (home / f"{name}.avd").mkdir(parents=True)
    (home / f"{name}.avd" / "config.ini").write_text(f"image.sysdir.1={image.replace(';', '/')}\n")
    (home / f"{name}.ini").write_text(f"path={home / name}.avd\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
