"""The texts of the apps: every language says the same, and both platforms' files hold it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.apps import _strings_plurals as plurals
from toolkit.apps import strings
from toolkit.apps.strings import Strings, Text
from toolkit.core import process, resources
from toolkit.core.errors import DataError, SettingsError

SCRIPTS = {
    "ar": "\u0600-\u06ff",
    "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f",
    "ko": "\uac00-\ud7af",
    "ru": "\u0400-\u04ff",
    "zh-Hans": "\u4e00-\u9fff",
}
CLDR_MIN = 42
HEAD = 'source = "en"\nlanguages = ["en"]\n'
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: its ICU is the reference")


@pytest.fixture(scope="module")
def shipped() -> Strings:
    return strings.load()


def test_the_shipped_texts_are_whole_in_every_language(shipped: Strings) -> None:
    strings.lint(shipped)
    assert len(shipped.languages) >= 12
    assert {"ar", "he", "ru", "pl", "sr-Latn", "zh-Hans"} <= set(shipped.languages)
    assert shipped.languages[0] == shipped.source == "en"
    assert len([text for text in shipped.texts if text.counted]) >= 2


def test_translations_are_in_their_own_script(shipped: Strings) -> None:
    for text in shipped.texts:
        for language, letters in SCRIPTS.items():
            forms = text.forms(language).values()
            assert text.key == "result_spoken" or all(re.search(f"[{letters}]", form) for form in forms), text.key
        latin = "".join(text.forms("sr-Latn").values())
        assert not re.search("[\u0400-\u04ff]", latin), text.key


def _icu(expression: str, languages: tuple[str, ...]) -> list[Any]:
    """Evaluate an expression of the plural rules `p` of every language."""
    script = (
        f"const of = (l) => {{ const p = new Intl.PluralRules(l); return {expression}; }};"
        "console.log(JSON.stringify([process.versions.cldr, process.argv.slice(1).map(of)]))"
    )
    done = process.run(["node", "-e", script, *languages], deadline_s=30)
    version, found = json.loads(done.stdout)
    if float(version) < CLDR_MIN:
        pytest.skip(f"node has CLDR {version}; {CLDR_MIN} changed the plural rules of Hebrew and the Romance languages")
    assert isinstance(found, list)
    return found


@needs_node
def test_plural_categories_are_those_of_icu(shipped: Strings) -> None:
    found = _icu("p.resolvedOptions().pluralCategories", shipped.languages)
    assert [set(forms) for forms in found] == [set(plurals.required(language)) for language in shipped.languages]


@needs_node
def test_only_forms_of_a_single_number_may_leave_it_out(shipped: Strings) -> None:
    counting = "Array.from(Array(2000).keys(), (n) => p.select(n))"
    for language, forms in zip(shipped.languages, _icu(counting, shipped.languages), strict=True):
        single = {form for form in forms if forms.count(form) == 1}
        assert {form for form in plurals.required(language) if plurals.spells_out(language, form)} == single, language


@pytest.mark.parametrize("language", strings.load().languages)
def test_android_reads_back_every_wording(shipped: Strings, language: str) -> None:
    root = ET.fromstring(strings.android(shipped, language).encode("utf-8"))
    plain = {one.attrib["name"]: one.text or "" for one in root.findall("string")}
    plural = {one.attrib["name"]: {item.attrib["quantity"]: item.text or "" for item in one} for one in root[:]}
    counted = {name: forms for name, forms in plural.items() if forms}
    for text in shipped.texts:
        forms = text.forms(language)
        if text.counted:
            assert {form: _unescaped(wording) for form, wording in counted[text.key].items()} == forms
        else:
            assert _unescaped(plain[text.key]) == forms[""]
    assert len(plain) + len(counted) == len(shipped.texts)


def _unescaped(wording: str) -> str:
    return re.sub(r"\\(.)", r"\1", wording.strip('"'))


def test_folders_are_what_androids_resources_are_called() -> None:
    tags = ("en", "de", "he", "id", "pt-BR", "sr-Latn", "zh-Hans", "es-419")
    folders = [strings.android_folder(tag).removeprefix("values") for tag in tags]
    assert folders == ["", "-de", "-iw", "-in", "-pt-rBR", "-b+sr+Latn", "-b+zh+Hans", "-b+es+419"]


def test_the_catalog_has_every_key_in_every_language_with_apples_specifiers(shipped: Strings) -> None:
    catalog = json.loads(strings.xcstrings(shipped))
    assert (catalog["version"], catalog["sourceLanguage"]) == ("1.0", "en")
    assert set(catalog["strings"]) == {text.key for text in shipped.texts}
    for text in shipped.texts:
        found = catalog["strings"][text.key]
        assert set(found["localizations"]) == set(shipped.languages)
        for language, made in found["localizations"].items():
            if text.counted:
                forms = {form: one["stringUnit"]["value"] for form, one in made["variations"]["plural"].items()}
                assert set(forms) == set(plurals.required(language))
            else:
                forms = {"": made["stringUnit"]["value"]}
            for form, wording in forms.items():
                assert wording.replace("$@", "$s").replace("$lld", "$d") == text.forms(language)[form]
                assert not re.search(r"%\d+\$[sd]", wording)


def test_the_catalog_is_the_same_every_time(shipped: Strings) -> None:
    assert strings.xcstrings(shipped) == strings.xcstrings(strings.load())
    assert strings.xcstrings(shipped).startswith('{\n  "sourceLanguage" : "en",')


def test_templates_see_every_language_and_folder(shipped: Strings) -> None:
    seen = strings.values(shipped)
    assert len(seen["android_folders"]) == len(set(seen["android_folders"])) == len(seen["languages"])
    assert seen["texts"]["camera_usage"]["de"].startswith("Die Kamera")


def _changed(shipped: Strings, key: str, language: str, wording: str | dict[str, str] | None) -> Strings:
    def change(text: Text) -> Text:
        wordings = {**text.wordings, language: wording}
        return replace(text, wordings={tag: said for tag, said in wordings.items() if said is not None})

    return replace(shipped, texts=tuple(change(text) if text.key == key else text for text in shipped.texts))


@pytest.mark.parametrize(
    ("key", "language", "wording", "what"),
    [
        ("run_model", "pl", None, "the text is missing"),
        ("run_model", "xx", "x", "the language is not among `languages`"),
        ("run_model", "de", " Los", "begins or ends with a space"),
        ("error_run", "de", "Fehler", "takes no argument, the source %1$s"),
        ("error_run", "de", "Fehler %1$d", "takes %1$d, the source %1$s"),
        ("error_run", "de", "Fehler %s", "has '%s'"),
        ("error_run", "de", "Fehler %1$s 5%", "has '%'"),
        ("objects_found", "ru", {"one": "%1$d", "few": "%1$d", "other": "%1$d"}, "the plural form 'many' is missing"),
        ("objects_found", "ja", {"one": "%1$d", "other": "%1$d"}, "has no plural form 'one'"),
        ("objects_found", "tr", {"one": "bir", "other": "%1$s"}, "of form 'other' takes %1$s"),
        (
            "objects_found",
            "ru",
            {"one": "один", "few": "%1$d", "many": "%1$d", "other": "%1$d"},
            "of form 'one' takes no argument",
        ),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_language(
    shipped: Strings, key: str, language: str, wording: str | dict[str, str] | None, what: str
) -> None:
    broken = _changed(shipped, key, language, wording)
    with pytest.raises(SettingsError, match=re.escape(f"{key} in {language}: ")) as raised:
        strings.lint(broken)
    assert what in raised.value.message
    assert [(fault.key, fault.language) for fault in strings.faults(broken)] == [(key, language)]


def test_a_form_of_one_number_may_spell_it_out(shipped: Strings) -> None:
    strings.lint(_changed(shipped, "objects_found", "en", {"one": "one object", "other": "%1$d objects"}))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("source = 1", "languages"),
        ('source = "en"\nlanguages = ["de"]', "the source among them"),
        ('source = "en"\nlanguages = ["en", "en"]', "every language once"),
        (HEAD + "what = 1", "unknown key 'what'"),
        (HEAD + '[text.a]\nen = "x"', "no table with a comment"),
        (
            HEAD + '[text.a]\ncomment = ""\nen = {one = "x"}\n[plural]',
            "not of the right form",
        ),
        (HEAD + '[plural.a]\ncomment = ""\nen = "x"\n[text]', "not of the right form"),
        (
            HEAD + '[plural.a]\ncomment = ""\n[text.a]\ncomment = ""',
            "is a text and a plural",
        ),
        ("source =", "cannot be read"),
    ],
)
def test_a_source_of_another_form_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "strings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(what)):
        strings.load(path)


@pytest.mark.parametrize("tag", ["german", "de_DE", "x", "tlh"])
def test_a_language_that_is_not_known_is_refused(shipped: Strings, tag: str) -> None:
    with pytest.raises(SettingsError, match=f"languages in {tag}"):
        strings.lint(replace(shipped, languages=("en", tag)))


def test_a_percent_sign_needs_no_doubling_where_nothing_is_filled_in() -> None:
    text = Text(key="share", comment="", counted=False, wordings={"en": "100%% sure"})
    one = Strings(source="en", languages=("en",), texts=(text,))
    strings.lint(one)
    assert ">100% sure<" in strings.android(one, "en")
    assert '"value" : "100% sure"' in strings.xcstrings(one)


def test_the_source_names_its_languages_in_order() -> None:
    plain = tomllib.loads((resources.folder("templates") / strings.FILE).read_text(encoding="utf-8"))
    assert plain["languages"] == sorted(plain["languages"])


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8"))
    return path


def test_labels_come_in_the_order_of_the_classes(tmp_path: Path) -> None:
    rows = (
        "\ufefflabel,de,sr-Latn",
        "cat,Katze,mačka",
        '"crane, bird","Kranich, der",ždral',
        "",
        "crane,Kran,dizalica",
    )
    path = _csv(tmp_path, "\r\n".join(rows))
    made = strings.read_labels(path)
    assert made.names == ("cat", "crane, bird", "crane")
    assert made.localised == {"de": ("Katze", "Kranich, der", "Kran"), "sr-Latn": ("mačka", "ždral", "dizalica")}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds 0 labels"),
        ("label,de\n", "holds 0 labels"),
        ("name,de\na,b\n", "no column `label`"),
        ("label,german\na,b\n", "'german' of"),
        ("label,de,de\na,b,c\n", "two columns 'de'"),
        ("label,de\na\n", "has 1 cells; there are 2"),
        ("label,de\na,b\nc,\n", "class 1 ('c') in de is missing"),
        ("label,de\n,b\n", "class 0 is missing"),
        ('label,de\na,"b\nc"\n', "more than one line"),
        ('label,de\na,"b\n', "Cannot read"),
        ("label\n" + "x" * 1001 + "\n", "too long"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=re.escape(what)):
        strings.read_labels(_csv(tmp_path, text))


def test_labels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"label\n\xff\n")
    with pytest.raises(DataError, match="Cannot read the labels"):
        strings.read_labels(path)
    with pytest.raises(DataError, match="Cannot read the labels"):
        strings.read_labels(tmp_path / "none.csv")
