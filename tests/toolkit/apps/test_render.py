"""The template language: strict, in its sandbox, and nothing without the filter of its sink."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.apps import render
from toolkit.apps.render import TemplateError
from toolkit.core import resources
from toolkit.core.errors import SettingsError

TEMPLATES = sorted(
    path for platform in ("android", "ios") for path in (resources.folder("templates") / platform).rglob("*.j2")
)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parts[-2]}/{path.name}")
def test_every_variable_of_every_template_ends_in_a_sink_filter(path: Path) -> None:
    assert render.unescaped(path.read_text(encoding="utf-8"), path.name) == ()


def test_there_are_templates() -> None:
    assert len(TEMPLATES) > 10


@pytest.mark.parametrize(
    "text",
    [
        "[[ app.name ]]",
        "[[ app.name | upper ]]",
        "[[ app.name | kt | upper ]]",
        "[[ app.name | kt if x else app.name ]]",
        "a [% set x %]b[% endset %] [[ x ]]",
        "[% for x in list %][[ x ]][% endfor %]",
        "[% macro m() %]x[% endmacro %][[ m() ]]",
        "[% include 'x' %]",
        "[% extends 'x' %]",
        "[% import 'x' as y %]",
    ],
)
def test_a_variable_without_its_filter_is_refused_before_anything_is_written(text: str) -> None:
    assert render.unescaped(f"line one\n{text}", "T") == (2,)
    with pytest.raises(TemplateError, match="without a sink filter at line 2"):
        render.render(f"line one\n{text}", {"app": {"name": "n"}, "x": True, "list": ["a"]}, name="T")


@pytest.mark.parametrize(
    "text",
    [
        "[[ nothing | kt ]]",
        "[[ app.nothing | kt ]]",
        "[[ ''.__class__.__mro__[1].__subclasses__() | json ]]",
        "[[ app.__class__ | kt ]]",
        "[[ app.name.format.__globals__ | kt ]]",
        "[[ 1 // 0 | num ]]",
        "[% for x in range(3) %][% endfor %]",
        "[% if %]",
        "[[ open ",
    ],
)
def test_what_a_template_may_not_do_is_an_error_of_the_template(text: str) -> None:
    with pytest.raises(TemplateError, match="The template T"):
        render.render(text, {"app": {"name": "n"}}, name="T")


def test_a_value_that_does_not_fit_its_sink_names_the_file() -> None:
    with pytest.raises(SettingsError, match=r"Base\.xcconfig cannot be written"):
        render.render("X = [[ v | xcconfig ]]", {"v": "$(x)"}, name="Base.xcconfig")


def test_other_languages_braces_and_line_ends_stay() -> None:
    text = 'val a = "${b}" // {{ c }}\n[% if yes %]\n  kept\n[% endif %]\n[# gone #]\nlast\n'
    assert render.render(text, {"yes": True}, name="T") == 'val a = "${b}" // {{ c }}\n  kept\nlast\n'


def test_a_value_is_never_read_as_a_template() -> None:
    assert render.render("[[ v | json ]]", {"v": "[[ x ]] [% if %]"}, name="T") == '"[[ x ]] [% if %]"'
