"""One escape for every place that a value may be written to; a template's variables all end in one of these.

Each takes hostile text and returns what the place's own compiler reads back as that very text. Text that a place cannot
hold at all (a control character in XML 1.0, half a surrogate pair) is refused, never changed in silence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

from toolkit.core.errors import SettingsError

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*", re.ASCII)
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_XML: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
    "\n": "&#10;",
    "\t": "&#9;",
    "\r": "&#13;",
}
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")
_LAST_ASCII: Final = 0x7E


def kotlin(value: object) -> str:
    r"""Return a Kotlin string literal with its quotes; templates (``$x``) in the text stay text.

    >>> print(kotlin('5 $ "a"'))
    "5 \$ \"a\""
    """
    return f'"{"".join(map(_kotlin_letter, _text(value)))}"'


def _kotlin_letter(letter: str) -> str:
    if letter in '\\"$':
        return f"\\{letter}"
    if " " <= letter <= "~":
        return letter
    raw = letter.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(raw[at : at + 2], 'big'):04x}" for at in range(0, len(raw), 2))


def swift(value: object) -> str:
    r"""Return a Swift string literal with its quotes; interpolations in the text stay text.

    >>> print(swift('\\(x)'))
    "\\(x)"
    """
    escaped = (
        f"\\{one}" if one in '\\"' else one if " " <= one <= "~" else f"\\u{{{ord(one):x}}}" for one in _text(value)
    )
    return f'"{"".join(escaped)}"'


def android_xml(value: object) -> str:
    r"""Return the text of an Android string resource: aapt's escapes first, then XML's.

    >>> print(android_xml("@it's <b>"))
    \@it\'s &lt;b&gt;
    """
    text = _xml_text(value)
    spaced = text != " ".join(text.split())
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\u000d")):
        text = text.replace(plain, escaped)
    if text[:1] in ("@", "?"):
        text = f"\\{text}"
    if spaced:
        text = f'"{text}"'
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def xml(value: object) -> str:
    """Return text for an element or an attribute.

    >>> xml("]]> & co")
    ']]&gt; &amp; co'
    """
    return "".join(_XML.get(letter, letter) for letter in _xml_text(value))


def _xml_text(value: object) -> str:
    text = _text(value)
    if found := _NOT_XML.search(text):
        raise SettingsError(f"XML cannot hold the character U+{ord(found.group()):04X} of {text[:40]!r}.")
    return text


def property_list(value: object) -> str:
    r"""Return a quoted string of an old-style property list (``project.pbxproj``).

    >>> print(property_list('a "b"'))
    "a \"b\""
    """
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    text = _text(value)
    if any(letter < " " and letter not in named for letter in text):
        raise SettingsError(f"A property list cannot hold the control characters of {text[:40]!r}.")
    return f'"{"".join(named.get(letter, letter) for letter in text)}"'


def toml(value: object) -> str:
    r"""Return a TOML string, or a list of them.

    >>> print(toml(["a", 'b"']))
    ["a", "b\""]
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return json.dumps(_text(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def json_text(value: object) -> str:
    """Return any plain value as JSON on one line, keys in their order.

    >>> json_text({"a": ["é", 1, None]})
    '{"a": ["é", 1, null]}'
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{value!r} cannot be written as JSON: {error}.") from error
    return _text(text)


def properties(value: object) -> str:
    r"""Return the value of a line of a Java properties file.

    >>> print(properties(" a\\b"))
    \ a\\b
    """
    named = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f"}
    text = "".join(named.get(letter) or _property_letter(letter) for letter in _text(value))
    return f"\\{text}" if text.startswith(" ") else text


def _property_letter(letter: str) -> str:
    return letter if " " <= letter <= "~" else _kotlin_letter(letter)


def xcconfig(value: object) -> str:
    """Return the value of a line of an Xcode configuration file, where ``//`` begins a comment and ``$`` a setting.

    >>> xcconfig("a//b")
    'a/$()/b'
    """
    text = _text(value)
    if any(letter < " " or letter == "$" for letter in text):
        raise SettingsError(f"An xcconfig cannot hold {text[:40]!r}.", hint="It must be one line without a $.")
    return text.replace("//", "/$()/")


def markdown(value: object) -> str:
    r"""Return Markdown in which no character is markup, on one line (CommonMark 2.4, backslash escapes).

    >>> print(markdown("*x*"))
    \*x\*
    """
    return _PUNCTUATION.sub(r"\\\1", " ".join(_text(value).split()))


def identifier(value: object) -> str:
    """Return an identifier, a version, or several with dots between, as it is; what could be more is refused.

    >>> identifier("com.example.app")
    'com.example.app'
    """
    text = _text(value)
    if not _IDENTIFIER.fullmatch(text):
        raise SettingsError(f"{text[:60]!r} is no identifier.")
    return text


def number(value: object) -> str:
    """Return a finite number as all our languages write it.

    >>> number(36), number(0.5)
    ('36', '0.5')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"{value!r} is no number that can be written into source.")
    return repr(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{value!r} is not text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SettingsError("A text holds half a character (a lone surrogate).") from error
    return value


SINKS: Final[dict[str, Callable[[Any], str]]] = {
    "kt": kotlin,
    "gradle": kotlin,
    "swift": swift,
    "axml": android_xml,
    "xml": xml,
    "pbx": property_list,
    "toml": toml,
    "json": json_text,
    "properties": properties,
    "xcconfig": xcconfig,
    "md": markdown,
    "ident": identifier,
    "num": number,
}
"""The filters of templates by name; ``docs/apps.md`` says which goes where."""
