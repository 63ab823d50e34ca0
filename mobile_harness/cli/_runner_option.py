"""The options that choose which runner measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def runner_options(function: F) -> F:
    """Add ``--runner`` and ``--native-tool`` to a command; they arrive as ``runner`` and ``native_tools``."""
    named = click.option(
        "--native-tool",
        "native_tools",
        multiple=True,
        type=click.Path(path_type=Path, exists=True),
        envvar="PALMTOP_NATIVE_TOOLS",
        metavar="PATH",
        help="With --runner native: benchmark_model or onnxruntime_perf_test for the device's ABI, or a folder that "
        "holds one and its libraries; repeatable.",
    )
    kind = click.option(
        "--runner",
        type=click.Choice(["app", "native"]),
        default="app",
        show_default=True,
        help="What measures: the bench app, or native tools of yours. Their figures are never compared.",
    )
    return kind(named(function))
