"""Templates to text: jinja2 in its sandbox, strict about names, and no variable without the escape of its sink.

The delimiters ``[[ ]]``, ``[% %]`` and ``[# #]`` do not occur in Kotlin, Swift, Gradle, XML or property lists; the
reasons for the options are in ``docs/apps.md``.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from toolkit.apps.sinks import SINKS
from toolkit.core.errors import PalmtopError, SettingsError


class TemplateError(PalmtopError):
    """A template is wrong: a bug of whoever wrote it, not of the values that it was given."""


@functools.cache
def environment() -> SandboxedEnvironment:
    """Return the one environment of all app templates; it loads no other template."""
    made = SandboxedEnvironment(
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # no sink is HTML: every variable ends in a filter of its own sink
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        newline_sequence="\n",
    )
    made.filters.update({name: _strict(sink) for name, sink in SINKS.items()})
    made.globals.clear()
    made.globals["pbx_id"] = pbx_id
    return made


def _strict(sink: Callable[[Any], str]) -> Callable[[Any], str]:
    """Make a sink that tells an unknown name, a fault of the template, from a value that does not fit."""

    def write(value: Any) -> str:
        if isinstance(value, jinja2.Undefined):
            str(value)  # StrictUndefined raises, with the name
        return sink(value)

    return write


def pbx_id(role: str) -> str:
    """Return the fixed 24-digit id of an object of an Xcode project, the same in every project.

    >>> pbx_id("target")
    '34A04005BCAF206EEC990BD9'
    """
    return hashlib.sha256(role.encode()).hexdigest()[:24].upper()


def unescaped(text: str, name: str) -> tuple[int, ...]:
    """Return the lines of a template whose ``[[ ]]`` does not end in a sink filter, or that load another template.

    Raises:
        TemplateError: it is no template.
    """
    try:
        tree = environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"The template {name} is wrong at line {error.lineno}: {error.message}.") from error
    shown = (item for output in tree.find_all(nodes.Output) for item in output.nodes)
    loose = {item.lineno for item in shown if not _is_escaped(item)}
    loading = tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    return tuple(sorted(loose | {item.lineno for item in loading}))


def _is_escaped(item: nodes.Expr) -> bool:
    return isinstance(item, nodes.TemplateData) or (isinstance(item, nodes.Filter) and item.name in SINKS)


def render(text: str, values: Mapping[str, Any], *, name: str) -> str:
    r"""Return a template's text with the values in it.

    Args:
        text: the template.
        values: what it may use; plain data, since a template is sandboxed.
        name: what to call the template in an error.

    Raises:
        SettingsError: a value cannot stand where the template puts it.
        TemplateError: the template is wrong: syntax, an unknown name, a variable without a sink filter.

    >>> render('val name = [[ app.name | kt ]]', {"app": {"name": "$x"}}, name="A.kt")
    'val name = "\\$x"'
    """
    if lines := unescaped(text, name):
        raise TemplateError(f"The template {name} writes a value without a sink filter at line {lines[0]}.")
    try:
        return environment().from_string(text).render(values)
    except SettingsError as error:
        raise SettingsError(f"{name} cannot be written: {error.message}", hint=error.hint) from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise TemplateError(f"The template {name} cannot be rendered: {error}.") from error
