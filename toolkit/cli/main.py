"""The console script: finds a command, runs it, and turns every error into words and an exit code.

Commands come from the entry-point group ``palmtop.commands``: ours and any third party's. A command's module is
imported when it runs or when its summary is listed, so its top level imports click and this package only.
"""

from __future__ import annotations

import difflib
import errno
import importlib.metadata
import io
import os
import platform
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple, NoReturn

import click

from toolkit.cli.console import Console
from toolkit.cli.options import keep_examples
from toolkit.core.errors import BadInput, PalmtopError, SettingsError, ToolMissing, UsageError

GROUP = "palmtop.commands"
OURS = ("toolkit.", "mobile_harness.")
INTERRUPTED = 130
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class _Ended(KeyboardInterrupt):
    """The system or a closed terminal ends us: everything is cleaned up as after Ctrl-C."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(by.name)
        self.by = by


class _Told(NamedTuple):
    """An error in words."""

    kind: str
    message: str
    hint: str
    exit_code: int


class Commands(click.Group):
    """The commands that are installed, imported one by one as they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_entry_points(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _entry_points(ctx).get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as error:
            if point.value.startswith(OURS):
                raise
            raise SettingsError(
                f"The command {cmd_name!r} cannot be loaded from {point.value}: {type(error).__name__}: {error}.",
                hint="It is not part of palmtop: update or uninstall the package that brings it.",
            ) from error
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in _entry_points(ctx) and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except PalmtopError as error:
            return error.message
        return command.get_short_help_str(limit=96) if command else ""


def _entry_points(ctx: click.Context) -> dict[str, importlib.metadata.EntryPoint]:
    """Return the commands by name, read once a command line; where a third party took one of our names, ours stays."""
    found: dict[str, importlib.metadata.EntryPoint] | None = ctx.meta.get(GROUP)
    if found is None:
        points = importlib.metadata.entry_points(group=GROUP)
        found = {point.name: point for point in sorted(points, key=lambda point: point.value.startswith(OURS))}
        ctx.meta[GROUP] = found
    return found


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"palmtop {importlib.metadata.version('palmtop')}")
        ctx.exit()


HELP = """Which INT8 build of a model should ship to which phones, and how do we know?

Example:
  palmtop demo                                a first look, with a model of ours
  palmtop quantize MODEL -d DATA -o builds    then with yours
  palmtop verify builds -d LABELLED
  palmtop bench builds
"""


@click.command(
    cls=Commands,
    help=keep_examples(HELP),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say which palmtop this is.",
)
@click.pass_context
def palmtop(ctx: click.Context) -> None:
    """Show the help when no command is named."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run() -> NoReturn:
    """Run the console script ``palmtop``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is no crash
    for by in _ENDING:
        if signal.getsignal(by) is not signal.SIG_IGN:  # nohup stays in force
            signal.signal(by, _end)
    sys.exit(execute(sys.argv[1:]))


def _end(number: int, _: FrameType | None) -> NoReturn:
    for by in _ENDING:
        signal.signal(by, signal.SIG_IGN)  # a closing terminal sends several; the first one's cleaning up goes on
    raise _Ended(signal.Signals(number))


def execute(words: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error has been told by then."""
    console = Console(as_json="--json" in words)
    try:
        ended = palmtop.main(args=list(words), prog_name="palmtop", standalone_mode=False, obj=console)
        return ended if isinstance(ended, int) else 0
    except Exception as error:
        return _tell(console, error, words)
    except KeyboardInterrupt as error:
        return _tell(console, error, words)


def _tell(console: Console, error: BaseException, words: Sequence[str]) -> int:
    """Turn an error into words and an exit code: the one place that does."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return error.exit_code
        case click.exceptions.Abort() | KeyboardInterrupt():
            told = _interrupted(error)
        case click.UsageError():
            told = _Told("UsageError", error.format_message(), _usage(error), UsageError.exit_code)
        case click.ClickException():
            told = _Told("BadInput", error.format_message(), "", BadInput.exit_code)
        case PalmtopError():
            told = _Told(type(error).__name__, error.message, error.hint, error.exit_code)
        case ModuleNotFoundError(name=str(library)) if not f"{library}.".startswith(OURS):
            hint = "Install palmtop again; `palmtop doctor` lists what is missing."
            told = _Told("ToolMissing", f"The library {library!r} is not installed.", hint, ToolMissing.exit_code)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            told = _Told(
                "OutputError", f"The disk is full: {error}.", "Free space, then run the same command again.", 3
            )
        case PermissionError() | OSError(errno=errno.EROFS):
            hint = "Give yourself the right to it, or choose another place; PALMTOP_CACHE moves the cache."
            told = _Told("OutputError", f"Cannot use {_place(error)}: {error.strerror or error}.", hint, 3)
        case _:
            told = _bug(error, words)
    console.error(kind=told.kind, message=told.message, hint=told.hint, exit_code=told.exit_code)
    return told.exit_code


_AGAIN = "run the same command again to resume"


def _interrupted(error: BaseException) -> _Told:
    cause = error.__cause__ if isinstance(error, click.exceptions.Abort) else error
    by, code = (f" by {cause.by.name}", 128 + cause.by) if isinstance(cause, _Ended) else ("", INTERRUPTED)
    notes = getattr(cause, "__notes__", ())  # how to go on, from a command that its own repetition does not resume
    return _Told("Interrupted", f"interrupted{by}; {notes[-1] if notes else _AGAIN}", "", code)


def _place(error: OSError) -> str:
    return str(error.filename or "a file")


def _usage(error: click.UsageError) -> str:
    if error.ctx is None:
        return "`palmtop --help` lists the commands."
    return f"{error.ctx.get_usage()}\n`{error.ctx.command_path} --help` says more."


def _bug(error: BaseException, words: Sequence[str]) -> _Told:
    handle, log = tempfile.mkstemp(prefix="palmtop-bug-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"palmtop {importlib.metadata.version('palmtop')}, Python {platform.python_version()}, ")
        file.write(f"{platform.platform()}\ncommand: palmtop {shlex.join(words)}\n\n")
        file.write("".join(traceback.format_exception(error)))
    return _Told(
        "Bug",
        f"This is a bug in palmtop, not in what you gave it: {type(error).__name__}: {error}",
        f"The trace is in {log}; please report it with that file to {_report_to()}.",
        PalmtopError.exit_code,
    )


def _report_to() -> str:
    """Return where the installed palmtop wants bugs reported: the ``Issues`` address of its metadata."""
    urls = importlib.metadata.metadata("palmtop").get_all("Project-URL") or []
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return str(named.get("Issues", "the people you have palmtop from"))
