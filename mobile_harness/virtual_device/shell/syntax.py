"""What a script is made of, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Text:
    """Characters as they are; unquoted ones may be a pattern of file names."""

    value: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name``; ``default`` is the word of ``${name:-word}``, used also for an empty value when ``or_empty``."""

    name: str
    quoted: bool
    default: Word | None = None
    or_empty: bool = False


@dataclass(frozen=True, slots=True)
class Substitution:
    """``$(script)``."""

    script: Script
    quoted: bool


Part = Text | Variable | Substitution


@dataclass(frozen=True, slots=True)
class Word:
    """Parts that stand together without a blank."""

    parts: tuple[Part, ...]

    def literal(self) -> str | None:
        """Return the characters of an unquoted plain word: what can be a reserved word."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Text) and not self.parts[0].quoted:
            return self.parts[0].value
        return None


Operator = Literal["<", ">", ">>", ">&", "<&"]


@dataclass(frozen=True, slots=True)
class Redirect:
    """``fd OP target``; with ``>&`` and ``<&`` the target is another descriptor."""

    fd: int
    operator: Operator
    target: Word


@dataclass(frozen=True, slots=True)
class Simple:
    """Assignments, a command and its arguments."""

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """``( )`` or ``{ }``."""

    body: Script
    subshell: bool
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class If:
    """``if`` with its conditions and bodies in order."""

    branches: tuple[tuple[Script, Script], ...]
    otherwise: Script | None
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class For:
    """``for name in words``; without ``in`` the words are the positional parameters."""

    name: str
    words: tuple[Word, ...] | None
    body: Script
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class While:
    """``while`` or, with ``until``, its opposite."""

    condition: Script
    body: Script
    until: bool
    redirects: tuple[Redirect, ...]


Command = Simple | Group | If | For | While


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands whose outputs are the next one's input."""

    commands: tuple[Command, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A pipeline and when it is run: always, after success, after failure."""

    joint: Literal["", "&&", "||"]
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps joined by ``&&`` and ``||``."""

    steps: tuple[Step, ...]
    background: bool


@dataclass(frozen=True, slots=True)
class Script:
    """Chains one after another."""

    chains: tuple[Chain, ...]
