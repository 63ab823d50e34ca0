"""The public surface: commands that start quickly, explain themselves, and are documented."""

from __future__ import annotations

import functools
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from toolkit.core import process

ROOT = Path(__file__).parent.parent
COMMANDS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "palmtop.commands"
]

HEAVY = {
    *(
        "numpy",
        "scipy",
        "pandas",
        "PIL",
        "cattrs",
        "rich",
        "jinja2",
        "sqlalchemy",
        "psutil",
        "adbutils",
        "platformdirs",
    ),
    *("tensorflow", "keras", "onnx", "onnxruntime", "onnxslim", "onnxsim", "coremltools", "ai_edge_litert", "torch"),
    *("litert_quantizer", "tf2onnx", "vl_convert", "skimage", "mlxtend", "mtcnn"),
}
"""Libraries that no command may load before it runs: `--help` and shell completion import every command."""

PROBE = """
import json, sys
from importlib import import_module
from toolkit.cli import main
loaded, told = set(sys.modules), {"main": sorted(sys.modules)}
for name, place in json.loads(sys.argv[1]).items():
    import_module(place.partition(":")[0])
    told[name] = sorted(set(sys.modules) - loaded)
    loaded |= set(sys.modules)
assert main.execute(["--help"]) == 0
told["--help"] = sorted(set(sys.modules) - loaded)
sys.stderr.write(json.dumps(told))
"""


@functools.cache
def imports() -> dict[str, set[str]]:
    """Return the top-level packages that the console script, each command and the help load, in a fresh process."""
    finished = process.run([sys.executable, "-c", PROBE, json.dumps(COMMANDS)], deadline_s=120, cwd=ROOT)
    assert finished.code == 0, finished.stderr[-3000:]
    told = json.loads(finished.stderr.splitlines()[-1])
    return {name: {module.partition(".")[0] for module in modules} for name, modules in told.items()}


@pytest.mark.parametrize("name", ["main", "--help", *COMMANDS])
def test_nothing_heavy_is_loaded_before_a_command_runs(name: str) -> None:
    assert imports()[name] & HEAVY == set()


def test_shell_completion_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom toolkit.cli.main import execute\n"
        "try: execute([])\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(repr(sorted(set(sys.modules) & {HEAVY!r})))"
    )
    env = {"_PALMTOP_COMPLETE": "bash_complete", "COMP_WORDS": "palmtop qu", "COMP_CWORD": "1"}
    finished = process.run([sys.executable, "-c", code], deadline_s=60, env=env)
    assert finished.stdout == "plain,quantize\n"
    assert finished.stderr == "[]"


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        yield from _with_inner(name, getattr(importlib.import_module(module), attribute))


def _with_inner(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _with_inner(f"{words} {name}", inner)


def test_every_command_explains_itself_with_an_example() -> None:
    for words, command in commands():
        shown = command.get_help(click.Context(command, info_name=f"palmtop {words}"))
        assert re.search(rf"^ *palmtop {words}\b", shown, re.MULTILINE), f"`palmtop {words} --help` has no example"
        summary = command.get_short_help_str(limit=200)
        assert summary, words
        assert len(summary) <= 90, f"the summary of `palmtop {words}` is no summary"


def test_every_command_prints_json_and_can_be_quiet() -> None:
    for words, command in commands():
        if isinstance(command, click.Group) and not command.invoke_without_command:
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "-q", "-v"} <= options, words


def test_every_option_says_what_it_is_for() -> None:
    for words, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"palmtop {words} {parameter.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_documentation(name: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"palmtop {name}" in page.read_text(encoding="utf-8") for page in pages)


def test_the_commands_of_this_checkout_are_the_ones_that_are_installed() -> None:
    from importlib.metadata import entry_points

    installed = {point.name: point.value for point in entry_points(group="palmtop.commands")}
    assert COMMANDS.items() <= installed.items(), "install again: pip install -e ."
