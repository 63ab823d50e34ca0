"""No path of a device leads out of its folder, and rights are Android's in outline."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness.virtual_device.filesystem import SHELL, DeviceFiles, View, app_identity

PARTS = st.sampled_from(["..", ".", "", "a", "link", "up", "abs", "loop", "data", "local", "tmp", "etc", "passwd"])


@pytest.fixture
def files(tmp_path: Path) -> DeviceFiles:
    return DeviceFiles(tmp_path / "root", capacity=1000)


@pytest.fixture
def view(files: DeviceFiles) -> View:
    return View(files, SHELL, "/data/local/tmp")


def content(view: View, path: str) -> bytes:
    with view.open_read(path) as file:
        return file.read()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(PARTS, max_size=12), st.booleans())
def test_every_path_stays_inside(files: DeviceFiles, parts: list[str], follow: bool) -> None:
    place = files.root / "data/local/tmp"
    for name, target in {"link": "..", "up": "../../../../../..", "abs": "/etc/passwd", "loop": "loop"}.items():
        if not (place / name).is_symlink():
            (place / name).symlink_to(target)
    try:
        host = files.host_path("/data/local/tmp/" + "/".join(parts), follow=follow)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return
        raise
    assert host == files.root or files.root in host.parents
    assert ".." not in host.parts
    for parent in host.parents:
        if parent == files.root:
            break
        assert not parent.is_symlink()


def test_links_mean_places_of_the_device(view: View) -> None:
    view.link("/system", "out")
    view.files.put("/system/here", b"the device's own")
    assert content(view, "out/here") == b"the device's own"
    with pytest.raises(OSError, match="Read-only"):
        view.open_write("out/new")


@pytest.mark.parametrize(
    ("path", "number"),
    [("/system/x", errno.EROFS), ("/proc/x", errno.EROFS), ("/data/x", errno.EACCES), ("/x", errno.EACCES)],
)
def test_the_shell_writes_to_its_own_places_only(view: View, path: str, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        view.open_write(path)


def test_an_app_has_a_folder_that_the_shell_cannot_see(files: DeviceFiles, view: View) -> None:
    app = View(files, app_identity("org.one", 10100), "/data/data/org.one")
    files.put("/data/data/org.one/files/x", b"secret")
    files.put("/data/data/org.two/files/x", b"secret")
    assert content(app, "files/x") == b"secret"
    for who, path in ((view, "/data/data/org.one/files/x"), (app, "/data/data/org.two/files/x")):
        with pytest.raises(PermissionError):
            who.open_read(path)


def test_storage_is_counted(view: View) -> None:
    file = view.open_write("a")
    file.write(bytes(900))
    file.close()
    other = view.open_write("b")
    with pytest.raises(OSError, match="No space"):
        other.write(bytes(101))
    other.close()
    view.remove("a")
    assert view.files.free() == 1000
    again = view.open_write("c")
    again.write(bytes(1000))
    again.close()
    view.open_write("c").close()
    assert view.files.free() == 1000
