"""The doctor on this machine, and on one that lacks a library."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from toolkit.cli import environment
from toolkit.cli.main import execute


def test_it_is_well_here(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    libraries = {one["name"]: one for one in told["libraries"]}
    assert libraries["numpy"]["version"] is not None
    assert "BSD" in libraries["numpy"]["licence"]
    assert libraries["click"]["licence"] == "BSD-3-Clause"
    assert {one["name"] for one in told["programs"]} == {"adb", "emulator", "java", "xcrun"}
    assert told["places"]["cache_writable"] is True
    assert told["places"]["disk_free_bytes"] > 0
    assert told["places"]["settings"] is None
    assert execute(["doctor"]) == 0
    assert "Everything palmtop needs is installed." in capsys.readouterr().out


def test_a_missing_library_ends_with_6_and_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "palmtop-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: palmtop\nVersion: 9.9\n"
        "Requires-Dist: click<9\nRequires-Dist: no-such-library[fast]>=1,<2\n"
        "Requires-Dist: no-such-extra; extra == 'torch'\nRequires-Dist: no-such-extra; extra == 'qat'\n"
        "Requires-Dist: no-such-lint; extra == 'dev'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    from toolkit.cli.doctor import command  # the entry points of the broken distribution name no commands

    found = {one.name: one for one in environment.libraries("palmtop")}
    assert set(found) == {"click", "no-such-library", "no-such-extra"}
    assert found["no-such-extra"].extras == ("torch", "qat")
    assert found["no-such-library"].wanted == ">=1,<2"
    (info / "entry_points.txt").write_text("[palmtop.commands]\ndoctor = toolkit.cli.doctor:command\n")
    assert execute(["doctor"]) == 6
    shown = capsys.readouterr()
    assert "MISSING: pip install no-such-library" in shown.out
    assert "pip install 'palmtop[qat]'" in shown.out
    assert "Required libraries are missing: no-such-library." in shown.err
    assert command.name == "command"


def test_settings_that_cannot_be_read_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "palmtop.toml").write_text("[benhc]\n")
    assert execute(["doctor"]) == 3
    assert "did you mean 'bench'?" in capsys.readouterr().err
    (tmp_path / "palmtop.toml").write_text("[bench]\n")
    assert execute(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["places"]["settings"] == str(tmp_path / "palmtop.toml")


def test_a_cache_that_cannot_be_written_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "file" / "cache"))
    assert execute(["doctor"]) == 0
    assert "NOT WRITABLE" in capsys.readouterr().out


def test_a_program_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.cli.console import Console

    (tmp_path / "java").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = environment.survey(Console(verbosity="quiet").tools(), None)
    java = next(one for one in found.programs if one.name == "java")
    assert java.path == str(tmp_path / "java")
    assert "ended with exit code 3" in java.version
