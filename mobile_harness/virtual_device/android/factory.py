"""What a device is delivered with: palmtop's bench app, for every runtime of this host."""

from __future__ import annotations

from typing import Final

from mobile_harness.virtual_device.android.packages import FIRST_UID, App, AppManifest, write_test_package
from mobile_harness.virtual_device.android.system import System
from mobile_harness.virtual_device.filesystem import SHARED
from toolkit.core import discovery

PACKAGE: Final = "org.palmtop.bench"


def bench_app() -> AppManifest:
    """Return palmtop's bench app as a phone would have it, its role being played by this host."""
    return AppManifest(package=PACKAGE, runner=f"{PACKAGE}.Runner", targets=discovery.names("toolkit.targets"))


def install(system: System, manifest: AppManifest) -> None:
    """Put an app on a device before it is used."""
    folder = f"/data/app/{manifest.package}"
    home = system.files.host_path(folder)
    home.mkdir(parents=True, exist_ok=True)
    write_test_package(home / "base.apk", manifest)
    uid = FIRST_UID + len(system.packages)
    system.packages[manifest.package] = App(manifest=manifest, uid=uid, folder=folder, parts=("base.apk",))
    for own in (f"/data/data/{manifest.package}/files", f"{SHARED}/Android/data/{manifest.package}/files"):
        system.files.host_path(own).mkdir(parents=True, exist_ok=True)
