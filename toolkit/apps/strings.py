"""The words of the generated apps: one TOML file in, Android's ``strings.xml`` and Apple's string catalogs out.

``templates/strings.toml`` holds every text in every language, with numbered arguments (``%1$s`` a text, ``%1$d`` a
whole number). Before anything is written the source is checked for parity: the same keys, the same arguments, and the
plural forms that each language distinguishes. Formats: developer.android.com, "String resources";
string catalogs as Xcode 15 and later write them (version 1.0).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toolkit.apps import _strings_plurals as plurals
from toolkit.apps import sinks
from toolkit.apps._strings_labels import Labels, read_labels
from toolkit.core import resources
from toolkit.core.errors import SettingsError

__all__ = [
    "Fault",
    "Labels",
    "Strings",
    "Text",
    "android",
    "android_folder",
    "faults",
    "lint",
    "load",
    "read_labels",
    "values",
    "xcstrings",
]

FILE: Final = "strings.toml"
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TAG: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_SPECIFIER: Final = re.compile(r"%(?:(\d+)\$([a-zA-Z@])|(.?))", re.DOTALL)
_APPLE: Final = {"s": "@", "d": "lld"}
_ANDROID_LEGACY: Final = {"he": "iw", "id": "in", "yi": "ji"}
"""Languages that Android's resources know by their old codes (java.util.Locale)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text in all its languages: for each the wording, or for a counted text the wording of each plural form."""

    key: str
    comment: str
    counted: bool
    wordings: Mapping[str, str | Mapping[str, str]]

    def forms(self, language: str) -> dict[str, str]:
        """Return the wordings of a language by plural form; a text that counts nothing has the form ``""`` alone."""
        found = self.wordings.get(language, {})
        return {"": found} if isinstance(found, str) else dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strings:
    """All texts in the order of the source; ``languages`` are BCP-47 tags, the source language first."""

    source: str
    languages: tuple[str, ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What keeps the languages from saying the same: in which text and language, and what it is."""

    key: str
    language: str
    what: str

    def __str__(self) -> str:
        return f"{self.key} in {self.language}: {self.what}"


def load(path: Path | None = None) -> Strings:
    """Read the source of all texts, without judging it (:func:`lint` does).

    Raises:
        SettingsError: it is no TOML of the described form.
    """
    path = path or resources.folder("templates") / FILE
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        return _parsed(plain)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"The texts in {path} cannot be read: {_said(error)}.") from error


def _said(error: Exception) -> str:
    return f"the key {error} is missing" if isinstance(error, KeyError) else str(error)


def _parsed(plain: dict[str, Any]) -> Strings:
    unknown = sorted(plain.keys() - {"source", "languages", "text", "plural"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    source, languages = plain["source"], plain["languages"]
    if source not in languages or len(set(languages)) != len(languages):
        raise ValueError("`languages` must name every language once, the source among them")
    texts = [
        _text(key, table, counted=kind == "plural") for kind in ("text", "plural") for key, table in plain[kind].items()
    ]
    keys = [text.key for text in texts]
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    if doubled:
        raise ValueError(f"{doubled[0]!r} is a text and a plural")
    return Strings(
        source=source,
        languages=(source, *sorted(tag for tag in languages if tag != source)),
        texts=tuple(sorted(texts, key=lambda text: text.key)),
    )


def _text(key: str, table: Any, *, counted: bool) -> Text:
    if not isinstance(table, dict) or not isinstance(table.get("comment"), str):
        raise ValueError(f"{key!r} is no table with a comment for the translators")
    wordings = {language: wording for language, wording in table.items() if language != "comment"}
    for language, wording in wordings.items():
        said = wording.values() if counted and isinstance(wording, dict) else [wording]
        if (counted and not isinstance(wording, dict)) or not all(isinstance(one, str) for one in said):
            raise ValueError(f"{key!r} is not of the right form in {language!r}")
    return Text(key=key, comment=table["comment"], counted=counted, wordings=wordings)


def faults(strings: Strings) -> tuple[Fault, ...]:
    """Return everything that keeps a language from saying what the source says, in the order of the keys."""
    found: list[Fault] = []
    for language in strings.languages:
        if not _TAG.fullmatch(language):
            found.append(Fault(key="languages", language=language, what="is no language tag such as sr-Latn or pt-BR"))
        elif not plurals.known(language):
            found.append(Fault(key="languages", language=language, what="its plural forms are not known here"))
    if found:
        return tuple(found)
    for text in strings.texts:
        found += _faults_of(text, strings)
    return tuple(found)


def _faults_of(text: Text, strings: Strings) -> Iterable[Fault]:
    if not _KEY.fullmatch(text.key):
        yield Fault(key=text.key, language=strings.source, what="the key is no snake_case identifier")
    for language in sorted(text.wordings.keys() - set(strings.languages)):
        yield Fault(key=text.key, language=language, what="the language is not among `languages`")
    wanted = _arguments_of(text, strings.source)
    for language in strings.languages:
        for what in _faults_in(text, language, wanted):
            yield Fault(key=text.key, language=language, what=what)


def _arguments_of(text: Text, language: str) -> dict[int, str]:
    """Return the arguments that the source language's fullest form takes, by their number."""
    forms = text.forms(language).values()
    return max((_arguments(form)[0] for form in forms), key=len, default={})


def _faults_in(text: Text, language: str, wanted: dict[int, str]) -> Iterable[str]:
    forms = text.forms(language)
    if not forms:
        yield "the text is missing"
        return
    if text.counted:
        yield from _form_faults(forms, language, wanted)
    for form, wording in forms.items():
        place = f" of form {form!r}" if form else ""
        found, strange = _arguments(wording)
        if not wording.strip() or wording != wording.strip():
            yield f"the wording{place} is empty or begins or ends with a space"
        if strange:
            yield f"the wording{place} has {strange!r}, where arguments are %1$s or %1$d and a percent sign is %%"
        elif found != wanted and not (not found and plurals.spells_out(language, form)):
            yield f"the wording{place} takes {_listed(found)}, the source {_listed(wanted)}"


def _form_faults(forms: dict[str, str], language: str, wanted: dict[int, str]) -> Iterable[str]:
    required = plurals.required(language)
    for form in required:
        if form not in forms:
            yield f"the plural form {form!r} is missing"
    for form in sorted(forms.keys() - set(required)):
        yield f"the language has no plural form {form!r}"
    if wanted != {1: "d"}:
        yield f"a counted text takes %1$d alone, not {_listed(wanted)}"


def _arguments(wording: str) -> tuple[dict[int, str], str]:
    """Return the arguments of a wording by number, and the first percent sign that is none of them."""
    found: dict[int, str] = {}
    for place in _SPECIFIER.finditer(wording):
        number, kind, other = place.groups()
        if number is None and other == "%":
            continue
        if number is None or kind not in _APPLE or found.get(int(number), kind) != kind:
            return found, place.group()
        found[int(number)] = kind
    return found, ""


def _listed(arguments: dict[int, str]) -> str:
    return ", ".join(f"%{number}${kind}" for number, kind in sorted(arguments.items())) or "no argument"


def lint(strings: Strings) -> None:
    """Refuse texts whose languages do not say the same.

    Raises:
        SettingsError: with every fault, each naming its key and its language.
    """
    found = faults(strings)
    if found:
        raise SettingsError(
            f"The texts of the apps have {len(found)} faults: {'; '.join(map(str, found))}.",
            hint=f"They are in {FILE} among the templates.",
        )


def values(strings: Strings) -> dict[str, Any]:
    """Return what templates see as ``strings``: languages, folders, and the texts that count nothing by key and tag."""
    return {
        "languages": list(strings.languages),
        "android_folders": [android_folder(language) for language in strings.languages],
        "texts": {text.key: dict(text.wordings) for text in strings.texts if not text.counted},
    }


def android_folder(language: str, *, source: str = "en") -> str:
    """Return the resource folder of a language; the source language is the default one.

    >>> [android_folder(tag) for tag in ("en", "he", "pt-BR", "sr-Latn")]
    ['values', 'values-iw', 'values-pt-rBR', 'values-b+sr+Latn']
    """
    if language == source:
        return "values"
    first, *rest = language.split("-")
    first = _ANDROID_LEGACY.get(first, first)
    if not rest:
        return f"values-{first}"
    if len(rest) == 1 and len(rest[0]) == 2:
        return f"values-{first}-r{rest[0]}"
    return f"values-b+{'+'.join((first, *rest))}"


def android(strings: Strings, language: str) -> str:
    """Return ``strings.xml`` of a language. Texts with no argument are plain, so that ``%`` needs no doubling there."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<resources>"]
    for text in strings.texts:
        forms = text.forms(language)
        if language == strings.source:
            lines.append(f"    <!-- {text.comment.replace('--', '-')} -->")
        if not text.counted:
            lines.append(f'    <string name="{text.key}">{_android_wording(forms[""])}</string>')
            continue
        lines.append(f'    <plurals name="{text.key}">')
        lines += [
            f'        <item quantity="{form}">{_android_wording(forms[form])}</item>'
            for form in plurals.required(language)
        ]
        lines.append("    </plurals>")
    return "\n".join([*lines, "</resources>", ""])


def _android_wording(wording: str) -> str:
    return sinks.android_xml(wording if _arguments(wording)[0] else wording.replace("%%", "%"))


def xcstrings(strings: Strings) -> str:
    """Return ``Localizable.xcstrings``, version 1.0, laid out as Xcode lays it out."""
    table = {
        text.key: {
            "comment": _SPECIFIER.sub(_apple_specifier, text.comment),
            "extractionState": "manual",
            "localizations": {language: _localization(text, language) for language in sorted(strings.languages)},
        }
        for text in strings.texts
    }
    return _catalog(strings.source, table)


def _localization(text: Text, language: str) -> dict[str, Any]:
    forms = text.forms(language)
    if not text.counted:
        return _unit(_apple(forms[""], text))
    return {"variations": {"plural": {form: _unit(_apple(wording, text)) for form, wording in sorted(forms.items())}}}


def _unit(wording: str) -> dict[str, Any]:
    return {"stringUnit": {"state": "translated", "value": wording}}


def _apple(wording: str, text: Text) -> str:
    """Return a wording with Foundation's specifiers: ``%1$s`` becomes ``%1$@``, ``%1$d`` the 64-bit ``%1$lld``."""
    if not text.counted and not _arguments(wording)[0]:
        return wording.replace("%%", "%")
    return _SPECIFIER.sub(_apple_specifier, wording)


def _apple_specifier(place: re.Match[str]) -> str:
    number, kind, _ = place.groups()
    return place.group() if number is None else f"%{number}${_APPLE[kind]}"


def _catalog(source: str, table: Mapping[str, Any]) -> str:
    plain = {"sourceLanguage": source, "strings": table, "version": "1.0"}
    return json.dumps(plain, indent=2, ensure_ascii=False, sort_keys=True, separators=(",", " : ")) + "\n"
