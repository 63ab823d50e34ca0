"""What all commands share: the common options, and options whose default is a setting.

A command is written so; its docstring is its help, and the lines after ``Example:`` are shown as they stand::

    @click.command()
    @click.argument("folder", type=click.Path(path_type=Path))
    @common_options
    def command(folder: Path, console: Console) -> None: ...

Importing this module is cheap, so that ``palmtop --help`` is quick: settings are read when a command runs.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from toolkit.cli.console import Console, Verbosity

F = TypeVar("F", bound=Callable[..., Any])

SETTINGS_KEY = "palmtop.settings"


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``, ``-q`` and ``-v`` to a command and hand it ``console``, closed when the command ends."""

    @click.option("-v", "--verbose", is_flag=True, help="Show what would help to find a fault, too.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress and no messages, only the result.")
    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
    @functools.wraps(function)
    def call(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        if quiet and verbose:
            raise click.UsageError("-q and -v contradict each other.")
        verbosity: Verbosity = "quiet" if quiet else "debug" if verbose else "normal"
        console = click.get_current_context().find_object(Console) or Console()
        console.configure(as_json=as_json, verbosity=verbosity)
        with console:
            return function(*args, console=console, **kwargs)

    call.__doc__ = keep_examples(call.__doc__ or "")
    return call


def keep_examples(text: str) -> str:
    """Mark the ``Example:`` paragraphs of a help text, so that click does not wrap their lines."""
    return re.sub(r"^([ \t]*)(?=Example)", "\\1\b\n\\1", text, flags=re.MULTILINE)


def setting(key: str, turn: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return the attributes that make a click option or argument fall back on a setting.

    Precedence: the option, then the variable ``PALMTOP_TABLE_KEY``, then ``table.key`` of ``palmtop.toml``, then the
    default of :class:`toolkit.cli.settings.Settings`::

        @click.option("--max-drop", type=float, **setting("verify.max_drop"))

    Args:
        key: ``table.key``.
        turn: makes what the option holds from the setting's value, where they differ.
    """

    def default() -> Any:
        return turn(_value_of(key)) if turn else _value_of(key)

    return {"default": default, "envvar": f"PALMTOP_{key.replace('.', '_').upper()}"}


def needed(key: str, turn: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return what :func:`setting` does, for an argument that must come from somewhere."""

    def refuse_none(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None and not ctx.resilient_parsing:
            raise click.MissingParameter(f"Name one, or set {key} in palmtop.toml.", ctx, param)
        return value

    return {**setting(key, turn), "callback": refuse_none, "required": True}


def _value_of(key: str) -> Any:
    from toolkit.cli import settings

    meta = click.get_current_context().meta  # shared by the contexts of one command line
    if SETTINGS_KEY not in meta:
        meta[SETTINGS_KEY] = settings.load()
    return settings.value_of(meta[SETTINGS_KEY], key)


def gather(name: str, fields: tuple[str, ...], make: Callable[..., object]) -> Callable[[F], F]:
    """Hand a command one value made of several of its parameters: ``name = make(**fields)``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = {field: kwargs.pop(field) for field in fields}
            return function(*args, **kwargs, **{name: make(**given)})

        return call  # type: ignore[return-value]  # the wrapper takes other keywords, as click calls it

    return decorate


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A finite number, also as a fraction: ``1/255``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = value if isinstance(value, float) else _number(str(value))
        if number is None or not math.isfinite(number):
            self.fail(f"{value!r} is not a number such as 0.5 or 1/255.", param, ctx)
        return number


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """Finite numbers with commas between them, as a tuple: ``0.485,0.456,0.406``."""

    name = "x,y,z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        words = value if isinstance(value, tuple) else str(value).split(",")
        return tuple(Number().convert(word, param, ctx) for word in words)


class Extent(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A height and a width in pixels: ``224,224``."""

    name = "h,w"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        sizes = value if isinstance(value, tuple) else _whole_numbers(str(value))
        if len(sizes) != 2 or min(sizes) < 1:
            self.fail(f"{value!r} is not a height and a width such as 224,224.", param, ctx)
        return sizes[0], sizes[1]


class NamedShape(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """``NAME=1,2,3`` as the pair of a name and a shape, each size 1 or more."""

    name = "name=1,2,3"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        tensor, _, sizes = str(value).rpartition("=")
        named = value if isinstance(value, tuple) else (tensor, _whole_numbers(sizes))
        if not named[0] or not named[1] or min(named[1]) < 1:
            self.fail(f"{value!r} is not a name and a shape such as image=1,224,224,3.", param, ctx)
        return named


def _number(word: str) -> float | None:
    over, _, under = word.partition("/")
    try:
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        return None


def _whole_numbers(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        return ()
