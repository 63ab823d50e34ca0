"""Text to script: the part of POSIX sh that harnesses send, by recursive descent. What it does not know it refuses."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, Literal, cast

from mobile_harness.virtual_device.shell.syntax import (
    Chain,
    Command,
    For,
    Group,
    If,
    Operator,
    Part,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Step,
    Substitution,
    Text,
    Variable,
    While,
    Word,
)

DEPTH_MAX: Final = 32
TEXT_MAX: Final = 1 << 20
REMEMBERED_MAX: Final = 4096
"""Characters of a script whose tree is kept for the next time."""
_META: Final = " \t\n;&|<>()"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_REDIRECT: Final = re.compile(r"([0-9]?)(<<|>>|<&|>&|<|>)")
_PLAIN: Final = re.compile(r"[^\s;&|<>()'\"\\$`#]+")
_PLAIN_IN_QUOTES: Final = re.compile(r"[^\"\\$`]+")
_UNSUPPORTED: Final = ("case", "function", "select", "[[", "time")


class BadSyntax(ValueError):
    """The text is no script, or one with a part of sh that this shell does not know (``unsupported``)."""

    def __init__(self, message: str, *, unsupported: bool = False) -> None:
        super().__init__(message)
        self.unsupported = unsupported


def parse(text: str) -> Script:
    """Read a script.

    Raises:
        BadSyntax: it is none, or uses what is not supported.
    """
    if len(text) > TEXT_MAX:
        raise BadSyntax(f"a script of {len(text)} characters is too long")
    return _parsed(text) if len(text) > REMEMBERED_MAX else _remembered(text)


@functools.lru_cache(maxsize=256)
def _remembered(text: str) -> Script:
    """Read a script that other devices, or this one a moment ago, were given too: a tree does not change."""
    return _parsed(text)


def _parsed(text: str) -> Script:
    parser = _Parser(text, 0)
    script = parser.script(frozenset())
    if not parser.at_end():
        raise BadSyntax(f"unexpected {parser.rest()!r}")
    return script


class _Parser:
    def __init__(self, text: str, depth: int) -> None:
        self._text = text
        self._at = 0
        self._depth = depth

    # looking ----------------------------------------------------------------------------------------------------

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def rest(self) -> str:
        return self._text[self._at : self._at + 20]

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        if self._sees(text):
            self._at += len(text)
            return True
        return False

    def _blanks(self, *, newlines: bool = False) -> None:
        skipped = " \t\n" if newlines else " \t"
        while not self.at_end():
            if self._text[self._at] in skipped:
                self._at += 1
            elif self._sees("\\\n"):
                self._at += 2
            elif self._sees("#"):
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def _reserved(self) -> str:
        """Return the plain word that stands here, without taking it."""
        found = re.compile(r"[^\s;&|<>()'\"\\$`]+").match(self._text, self._at)
        return found.group() if found else ""

    def _expect(self, word: str) -> None:
        self._blanks(newlines=True)
        if self._reserved() != word:
            raise BadSyntax(f"expected {word!r} before {self.rest()!r}")
        self._at += len(word)

    # lists ------------------------------------------------------------------------------------------------------

    def script(self, stop: frozenset[str]) -> Script:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise BadSyntax("nested too deep")
        chains = []
        while True:
            self._blanks(newlines=True)
            if self.at_end() or self._sees(")") or self._reserved() in stop:
                break
            chains.append(self._chain())
        self._depth -= 1
        return Script(tuple(chains))

    def _chain(self) -> Chain:
        steps = [Step("", self._pipeline())]
        while True:
            self._blanks()
            joint: Literal["&&", "||"]
            if self._take("&&"):
                joint = "&&"
            elif self._take("||"):
                joint = "||"
            else:
                break
            self._blanks(newlines=True)
            steps.append(Step(joint, self._pipeline()))
        background = self._take("&")
        if not background and not self._take(";") and not (self.at_end() or self._text[self._at] in "\n)"):
            raise BadSyntax(f"unexpected {self.rest()!r}")
        return Chain(tuple(steps), background)

    def _pipeline(self) -> Pipeline:
        self._blanks()
        negated = self._reserved() == "!"
        if negated:
            self._at += 1
        commands = [self._command()]
        while True:
            self._blanks()
            if self._sees("||") or not self._take("|"):
                return Pipeline(tuple(commands), negated)
            self._blanks(newlines=True)
            commands.append(self._command())

    # commands ---------------------------------------------------------------------------------------------------

    def _command(self) -> Command:
        self._blanks()
        if self._sees("(("):
            raise BadSyntax("arithmetic", unsupported=True)
        if self._take("("):
            body = self.script(frozenset())
            if not self._take(")"):
                raise BadSyntax("a '(' is not closed")
            return Group(body, True, self._redirects())
        word = self._reserved()
        if word in _UNSUPPORTED:
            raise BadSyntax(f"{word!r}", unsupported=True)
        compound: dict[str, Callable[[], Command]] = {
            "{": self._group, "if": self._if, "for": self._for, "while": self._while, "until": self._while,
        }  # fmt: skip
        return compound[word]() if word in compound else self._simple()

    def _group(self) -> Group:
        self._expect("{")
        body = self.script(frozenset({"}"}))
        self._expect("}")
        return Group(body, False, self._redirects())

    def _if(self) -> If:
        branches = []
        self._expect("if")
        while True:
            condition = self.script(frozenset({"then"}))
            self._expect("then")
            branches.append((condition, self.script(frozenset({"elif", "else", "fi"}))))
            if self._reserved() != "elif":
                break
            self._expect("elif")
        otherwise = None
        if self._reserved() == "else":
            self._expect("else")
            otherwise = self.script(frozenset({"fi"}))
        self._expect("fi")
        return If(tuple(branches), otherwise, self._redirects())

    def _for(self) -> For:
        self._expect("for")
        self._blanks()
        name = _NAME.match(self._text, self._at)
        if name is None:
            raise BadSyntax(f"no name of a variable at {self.rest()!r}")
        self._at = name.end()
        self._blanks()
        words = None
        if self._reserved() == "in":
            self._expect("in")
            words = self._words()
        self._take(";")
        return For(name.group(), words, self._body(), self._redirects())

    def _while(self) -> While:
        until = self._reserved() == "until"
        self._expect("until" if until else "while")
        condition = self.script(frozenset({"do"}))
        return While(condition, self._body(), until, self._redirects())

    def _body(self) -> Script:
        self._expect("do")
        body = self.script(frozenset({"done"}))
        self._expect("done")
        return body

    def _words(self) -> tuple[Word, ...]:
        words: list[Word] = []
        while True:
            self._blanks()
            if self.at_end() or self._text[self._at] in _META:
                return tuple(words)
            words.append(self._word())

    def _redirects(self) -> tuple[Redirect, ...]:
        found = []
        while (redirect := self._redirect()) is not None:
            found.append(redirect)
        return tuple(found)

    def _redirect(self) -> Redirect | None:
        self._blanks()
        found = _REDIRECT.match(self._text, self._at)
        if found is None:
            return None
        digits, operator = found.groups()
        if operator == "<<":
            raise BadSyntax("here-documents", unsupported=True)
        self._at = found.end()
        self._blanks()
        fd = int(digits) if digits else int(operator.startswith(">"))
        return Redirect(fd, cast(Operator, operator), self._word())

    def _simple(self) -> Simple:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while True:
            if (redirect := self._redirect()) is not None:
                redirects.append(redirect)
                continue
            if self.at_end() or self._text[self._at] in _META:
                break
            assigned = _ASSIGNMENT.match(self._text, self._at)
            if assigned is not None and not words:
                self._at = assigned.end()
                ended = self.at_end() or self._text[self._at] in _META
                assignments.append((assigned.group(1), Word(()) if ended else self._word()))
                continue
            words.append(self._word())
        if self._sees("(") and words:
            raise BadSyntax("functions", unsupported=True)
        if not words and not assignments and not redirects:
            raise BadSyntax(f"unexpected {self.rest() or 'end'!r}")
        return Simple(tuple(assignments), tuple(words), tuple(redirects))

    # words ------------------------------------------------------------------------------------------------------

    def _word(self) -> Word:
        parts: list[Part] = []
        while not self.at_end() and self._text[self._at] not in _META:
            if self._take("'"):
                end = self._text.find("'", self._at)
                if end < 0:
                    raise BadSyntax("no closing quote")
                parts.append(Text(self._text[self._at : end], True))
                self._at = end + 1
            elif self._take('"'):
                parts.extend(self._quoted())
            elif self._sees("\\\n"):
                self._at += 2
            elif self._take("\\"):
                parts.append(Text(self._text[self._at : self._at + 1], True))
                self._at += 1
            elif self._sees("$") or self._sees("`"):
                parts.append(self._dollar(quoted=False))
            elif (plain := _PLAIN.match(self._text, self._at)) is not None:
                parts.append(Text(plain.group(), False))
                self._at = plain.end()
            else:  # a '#' inside a word is a character as any other
                parts.append(Text(self._text[self._at], False))
                self._at += 1
        if not parts:
            raise BadSyntax(f"unexpected {self.rest() or 'end'!r}")
        return Word(tuple(parts))

    def _quoted(self) -> list[Part]:
        parts: list[Part] = [Text("", True)]
        while not self._take('"'):
            if self.at_end():
                raise BadSyntax("no closing quote")
            if self._sees("\\") and self._text[self._at + 1 : self._at + 2] in tuple('"\\$`\n'):
                escaped = self._text[self._at + 1]
                parts.append(Text("" if escaped == "\n" else escaped, True))
                self._at += 2
            elif self._sees("$") or self._sees("`"):
                parts.append(self._dollar(quoted=True))
            elif (plain := _PLAIN_IN_QUOTES.match(self._text, self._at)) is not None:
                parts.append(Text(plain.group(), True))
                self._at = plain.end()
            else:
                parts.append(Text(self._text[self._at], True))
                self._at += 1
        return parts

    def _dollar(self, *, quoted: bool) -> Part:
        if self._take("`"):
            return self._backticks(quoted=quoted)
        if self._sees("$(("):
            raise BadSyntax("arithmetic", unsupported=True)
        if self._take("$("):
            script = self.script(frozenset())
            if not self._take(")"):
                raise BadSyntax("a '$(' is not closed")
            return Substitution(script, quoted)
        if self._take("${"):
            return self._braces(quoted=quoted)
        self._at += 1
        special = self._text[self._at : self._at + 1]
        if special and (special in "?$!#@*" or special.isdigit()):
            self._at += 1
            return Variable(special, quoted)
        name = _NAME.match(self._text, self._at)
        if name is None:
            return Text("$", True)
        self._at = name.end()
        return Variable(name.group(), quoted)

    def _backticks(self, *, quoted: bool) -> Substitution:
        end = self._text.find("`", self._at)
        if end < 0:
            raise BadSyntax("a '`' is not closed")
        inner = _Parser(self._text[self._at : end], self._depth)
        self._at = end + 1
        return Substitution(inner.script(frozenset()), quoted)

    def _braces(self, *, quoted: bool) -> Variable:
        name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?$!#@*]").match(self._text, self._at)
        if name is None:
            raise BadSyntax(f"'${{{self.rest()}'", unsupported=True)
        self._at = name.end()
        if self._take("}"):
            return Variable(name.group(), quoted)
        or_empty = self._take(":")
        if not self._take("-"):
            raise BadSyntax(f"'${{{name.group()}{self.rest()}'", unsupported=True)
        end = self._text.find("}", self._at)
        if end < 0:
            raise BadSyntax("a '${' is not closed")
        inner = _Parser(self._text[self._at : end], self._depth)
        default = Word(()) if self._at == end else inner.whole_word(quoted=quoted)
        self._at = end + 1
        return Variable(name.group(), quoted, default, or_empty)

    def whole_word(self, *, quoted: bool) -> Word:
        """Read all of the text as one word, blanks included."""
        parts: list[Part] = []
        while not self.at_end():
            if self._text[self._at] in _META:
                parts.append(Text(self._text[self._at], quoted))
                self._at += 1
            else:
                parts.extend(self._word().parts)
        return Word(tuple(parts))
