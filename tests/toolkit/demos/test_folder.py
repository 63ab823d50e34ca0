"""The folder of a demo, with a demo of a third party: a module on the path and an entry point, as pip leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.core import discovery
from toolkit.core.errors import OutputError, SettingsError, ToolMissing
from toolkit.core.tools import Tools
from toolkit.demos._folder import FILE, folder_of, lay_out
from toolkit.demos._prepared import ROOM

TINY = """
from pathlib import Path
from toolkit.core.artifacts import Preprocess
from toolkit.core.events import Emit, Event
from toolkit.core.store import blob_of
from toolkit.demos._project import DemoModel, DemoProject

SUMMARY = "Two small files."
PACKAGES = ({packages})

def prepare(out: Path, emit: Emit) -> DemoProject:
    models = []
    for name in ("one", "two")[:{count}]:
        folder = out / name
        folder.mkdir()
        for inside in ("m.keras", "calibration.npz", "labelled.npz"):
            (folder / inside).write_text(name + inside)
        models.append(DemoModel(
            name=name, model=blob_of(folder / "m.keras"), calibration=blob_of(folder / "calibration.npz"),
            labelled=blob_of(folder / "labelled.npz"), output=None, metric="top1",
            preprocess=Preprocess(scale=1 / 255), notes=("a note",),
        ))
    emit(Event(subject="demo/tiny", phase="done"))
    return DemoProject(name="tiny", summary=SUMMARY, models=tuple(models))
"""


class Install:
    """Puts the tiny demo, in a version of it, where Python finds modules and distributions."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def __call__(self, count: int = 1, packages: str = '"numpy",') -> None:
        (self.site / "tiny_demo.py").write_text(TINY.format(count=count, packages=packages))
        info = self.site / "tiny_demo-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-demo\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[palmtop.demos]\ntiny = tiny_demo\n")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.delitem(__import__("sys").modules, "tiny_demo", raising=False)
    return Install(site)


def test_the_room_lists_its_demos_and_nothing_else() -> None:
    assert set(discovery.names(ROOM)) >= {"digits", "faces"}
    assert not [name for name in discovery.names(ROOM) if name.startswith("_")]
    for name in ("digits", "faces"):
        demo = discovery.load(ROOM, name)
        assert demo.SUMMARY.endswith(".")
        assert demo.PACKAGES


def test_one_model_lies_in_the_folder_itself(install: Install, tools: Tools, tmp_path: Path) -> None:
    install()
    out = tmp_path / "work" / "tiny"
    project = lay_out("tiny", out, tools)
    assert [model.model.path for model in project.models] == [out / "model" / "m.keras"]
    assert (out / "model" / "m.keras").read_text() == "onem.keras"
    assert folder_of(project.models[0], project, out) == out
    assert json.loads((out / FILE).read_text())["models"][0]["model"]["path"] == "model/m.keras"


def test_several_models_have_a_folder_each(install: Install, tools: Tools, tmp_path: Path) -> None:
    install(count=2)
    project = lay_out("tiny", tmp_path / "out", tools)
    assert [folder_of(model, project, tmp_path / "out") for model in project.models] == [
        tmp_path / "out" / "one",
        tmp_path / "out" / "two",
    ]
    assert project.models[1].labelled.path.read_text() == "twolabelled.npz"


def test_the_folder_is_found_again_even_when_the_cache_is_gone(
    install: Install, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.chdir(tmp_path)
    first = lay_out("tiny", Path("out"), tools)
    (tmp_path / "site" / "tiny_demo.py").unlink()
    assert lay_out("tiny", Path("out"), tools) == first


def test_what_changed_since_is_refused(install: Install, tools: Tools, tmp_path: Path) -> None:
    install()
    project = lay_out("tiny", tmp_path / "out", tools)
    project.models[0].calibration.path.write_text("other")
    with pytest.raises(OutputError, match=r"model/calibration\.npz is missing or changed"):
        lay_out("tiny", tmp_path / "out", tools)


def test_the_folder_of_another_demo_is_refused(install: Install, tools: Tools, tmp_path: Path) -> None:
    install()
    lay_out("tiny", tmp_path / "out", tools)
    with pytest.raises(OutputError, match="holds the demo 'tiny'"):
        lay_out("digits", tmp_path / "out", tools)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname"])
def test_a_folder_that_names_files_outside_is_refused(
    install: Install, tools: Tools, tmp_path: Path, path: str
) -> None:
    install()
    lay_out("tiny", tmp_path / "out", tools)
    plain = json.loads((tmp_path / "out" / FILE).read_text())
    plain["models"][0]["model"]["path"] = path
    (tmp_path / "outside").write_text("onem.keras")
    (tmp_path / "out" / FILE).write_text(json.dumps(plain))
    with pytest.raises(OutputError, match="missing or changed"):
        lay_out("tiny", tmp_path / "out", tools)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "tiny", "summary": "", "models": []}'])
def test_a_damaged_folder_is_refused(tools: Tools, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(OutputError):
        lay_out("tiny", tmp_path, tools)


def test_a_folder_with_something_else_is_refused_before_any_work(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        lay_out("digits", tmp_path, tools)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["precious.txt"]


def test_nothing_is_left_when_preparing_fails(install: Install, tools: Tools, tmp_path: Path) -> None:
    install(packages='"a-package-nobody-has",')
    with pytest.raises(ToolMissing, match="a-package-nobody-has") as caught:
        lay_out("tiny", tmp_path / "out", tools)
    assert "palmtop[demo]" in caught.value.hint
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_an_unknown_demo_offers_the_nearest(tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'digits'"):
        lay_out("digit", tmp_path / "out", tools)
    assert not (tmp_path / "out").exists()
