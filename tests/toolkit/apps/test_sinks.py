"""Every escape against the reader of its own format, or of its grammar; the compilers run with the trees."""

from __future__ import annotations

import json
import plistlib
import re
import tomllib
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.apps import sinks
from toolkit.core.errors import SettingsError

HOSTILE = (
    'a "quoted" \\ back',
    "$x ${y} $(z) \\(w)",
    "]]> <b>&amp;</b> --> <!--",
    "it's @home ?attr",
    "@string/x",
    "?x",
    "  two  spaces  ",
    "tab\tnewline\nreturn",
    "🎉 数字 مرحبا é",
    "%s %1$d %%",
    "// comment /* */ # x",
    "\u2028\u2029\u00a0",
    "'''\"\"\"",
    "\\u0041 \\n",
    "{{ x }} [[ y ]] [% z %]",
    "",
    "x" * 300,
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
xml_texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=40)


def kotlin_reader(literal: str) -> str:
    """Read a Kotlin literal by its grammar; raises where it holds anything but text (a template, an open quote)."""
    assert literal[0] == literal[-1] == '"'
    units: list[int] = []
    rest = literal[1:-1]
    while rest:
        found = re.match(r"\\u([0-9a-f]{4})|\\([\\\"$])|([^\\\"$])", rest)
        assert found, rest
        units.append(int(found[1], 16) if found[1] else ord(found[2] or found[3]))
        rest = rest[found.end() :]
    return b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be")


def swift_reader(literal: str) -> str:
    assert literal[0] == literal[-1] == '"'
    rest, read = literal[1:-1], ""
    while rest:
        found = re.match(r"\\u\{([0-9a-f]{1,8})\}|\\([\\\"])|([ -~])", rest)
        assert found, rest
        assert found[3] not in ("\\", '"')
        read += chr(int(found[1], 16)) if found[1] else found[2] or found[3]
        rest = rest[found.end() :]
    return read


def android_reader(text: str) -> str:
    """Read a string resource as aapt2 does: XML, then quotes, escapes and white space."""
    raw = ET.fromstring(f"<string>{text}</string>").text or ""
    quoted = len(raw) >= 2 and raw[0] == raw[-1] == '"' and not raw.endswith('\\"')
    inner = raw[1:-1] if quoted else raw
    assert not re.search(r"(?<!\\)(?:\\\\)*[\"']", inner), inner
    assert quoted or (inner[:1] not in ("@", "?") and inner == " ".join(inner.split()))

    def read(found: re.Match[str]) -> str:
        word = found[1]
        return chr(int(word[1:], 16)) if word[0] == "u" else {"n": "\n", "t": "\t"}.get(word, word)

    return re.sub(r"\\(u[0-9a-f]{4}|.)", read, inner, flags=re.DOTALL)


def property_list_reader(literal: str) -> str:
    assert literal[0] == literal[-1] == '"'
    assert not re.search(r'(?<!\\)(?:\\\\)*"', literal[1:-1])
    named = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: named.get(found[1], found[1]), literal[1:-1], flags=re.DOTALL)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_back_from_every_sink(text: str) -> None:
    assert kotlin_reader(sinks.kotlin(text)) == text
    assert swift_reader(sinks.swift(text)) == text
    assert android_reader(sinks.android_xml(text)) == text
    assert ET.fromstring(f'<a b="{sinks.xml(text)}"/>').get("b") == text
    assert tomllib.loads(f"x = {sinks.toml(text)}")["x"] == text
    assert json.loads(sinks.json_text(text)) == text
    assert property_list_reader(sinks.property_list(text)) == text
    plist = f'<plist version="1.0"><string>{sinks.xml(text)}</string></plist>'
    assert (plistlib.loads(plist.encode(), fmt=plistlib.FMT_XML) or "") == text


@given(texts)
def test_any_text_comes_back_from_the_literals(text: str) -> None:
    assert kotlin_reader(sinks.kotlin(text)) == text
    assert swift_reader(sinks.swift(text)) == text
    assert tomllib.loads(f"x = {sinks.toml([text, text])}")["x"] == [text, text]
    assert json.loads(sinks.json_text({text: [text]})) == {text: [text]}


@given(xml_texts)
def test_any_printable_text_comes_back_from_xml(text: str) -> None:
    assert android_reader(sinks.android_xml(text)) == text
    assert (ET.fromstring(f"<a>{sinks.xml(text)}</a>").text or "") == text


@given(texts)
def test_properties_stay_one_line_of_ascii(text: str) -> None:
    line = sinks.properties(text)
    assert line.isascii()
    assert not re.search(r"[\n\r\f]", line)
    read = re.sub(r"\\(u[0-9a-f]{4}|.)", _property, line)
    assert read.encode("utf-16", "surrogatepass").decode("utf-16") == text


def _property(found: re.Match[str]) -> str:
    word = found[1]
    if word[0] == "u" and len(word) == 5:
        return chr(int(word[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}.get(word, word)


def test_markdown_escapes_all_that_is_markup() -> None:
    said = sinks.markdown("# *a* [b](c) <d> `e`\n- f")
    assert said == r"\# \*a\* \[b\]\(c\) \<d\> \`e\` \- f"


@pytest.mark.parametrize("text", ["a b", "a;b", "", "a..b", "a/b", ".a", "a\n", "é", "a$b", "x" + chr(0)])
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="no identifier"):
        sinks.identifier(text)


@pytest.mark.parametrize("name", ["kt", "swift", "axml", "xml", "pbx", "toml", "properties", "md", "ident", "xcconfig"])
def test_only_text_is_text(name: str) -> None:
    for value in (None, 5, ["a"][0:0] if name != "toml" else 5.0, {"a": 1}):
        with pytest.raises(SettingsError):
            sinks.SINKS[name](value)
    with pytest.raises(SettingsError, match="half a character"):
        sinks.SINKS[name]("\ud800")


@pytest.mark.parametrize("value", [True, "5", float("nan"), float("inf"), None])
def test_only_finite_numbers_are_numbers(value: object) -> None:
    with pytest.raises(SettingsError):
        sinks.number(value)


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[2J", "\ufffe"])
def test_xml_refuses_what_it_cannot_hold(text: str) -> None:
    with pytest.raises(SettingsError, match="XML cannot hold"):
        sinks.xml(text)
    with pytest.raises(SettingsError, match="XML cannot hold"):
        sinks.android_xml(text)


def test_an_xcconfig_holds_no_comment_and_no_setting() -> None:
    assert "//" not in sinks.xcconfig("https://x//y")
    for text in ("$(HOME)", "a\nb"):
        with pytest.raises(SettingsError, match="xcconfig"):
            sinks.xcconfig(text)
