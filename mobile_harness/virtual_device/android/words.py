"""The options of commands, as Android's toybox and its services read them."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_harness.virtual_device.android.call import Trouble


@dataclass(frozen=True, slots=True)
class Words:
    """Flags, options with a value (the last one counts), and the rest."""

    flags: frozenset[str]
    values: dict[str, str]
    rest: tuple[str, ...]


def read(args: list[str], flags: str = "", valued: str = "", *, first_only: bool = False) -> Words:
    """Sort a command's words into options and the rest.

    Args:
        args: the words behind the command's name.
        flags: names of options without a value, by blanks: ``"l a --user"``; one letter stands for ``-l``.
        valued: names of options with a value, the same way; of long ones also as ``--name=value``.
        first_only: stop at the first word that is no option, as commands do that start another.

    Raises:
        Trouble: an option is unknown or lacks its value.
    """
    reader = _Reader(list(args), set(flags.split()), set(valued.split()))
    rest: list[str] = []
    while reader.waiting:
        word = reader.waiting.pop(0)
        if word == "--" or (first_only and not word.startswith("-")):
            rest += reader.waiting if word == "--" else [word, *reader.waiting]
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
        elif word.startswith("--") or word in reader.with_value or word in reader.plain:
            reader.long(word)
        else:
            reader.letters(word[1:])
    return Words(frozenset(reader.found), reader.values, tuple(rest))


class _Reader:
    """The two halves of one loop over the words."""

    def __init__(self, waiting: list[str], plain: set[str], with_value: set[str]) -> None:
        self.waiting = waiting
        self.plain = plain
        self.with_value = with_value
        self.found: set[str] = set()
        self.values: dict[str, str] = {}

    def long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if name in self.with_value:
            self.values[name] = value if equals else _next(name, self.waiting)
        elif name in self.plain and not equals:
            self.found.add(name)
        else:
            raise Trouble(f"Unknown option {word}")

    def letters(self, letters: str) -> None:
        for number, letter in enumerate(letters):
            if letter in self.with_value:
                self.values[letter] = letters[number + 1 :] or _next(f"-{letter}", self.waiting)
                return
            if letter not in self.plain:
                raise Trouble(f"Unknown option -{letter}")
            self.found.add(letter)


def _next(name: str, waiting: list[str]) -> str:
    if not waiting:
        raise Trouble(f"{name} needs a value")
    return waiting.pop(0)


def number(text: str, what: str) -> int:
    """Return a whole number.

    Raises:
        Trouble: the text is none.
    """
    try:
        return int(text, 10)
    except ValueError as error:
        raise Trouble(f"{what}: {text!r} is no number") from error
