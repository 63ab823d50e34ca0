"""Names: what people read may be anything that shows, what compilers read is valid or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.apps import identifiers
from toolkit.core.errors import SettingsError


@pytest.mark.parametrize(
    "text", ["Digits", " Digits ", "数字", "👩‍👩‍👧 Family", "a \"b\" $c ]]> 'd'", "x" * 100, "مرحبا"]
)
def test_names_that_show_are_taken(text: str) -> None:
    assert identifiers.display_name(text) == text.strip()


@pytest.mark.parametrize("text", ["", "   ", "x" * 101, "x" * 300, "a\nb", "a\x00", "a\u202eb", "\ud800", "a\u2028b"])
def test_names_that_do_not_show_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="The app's name"):
        identifiers.display_name(text)


def test_a_decomposed_name_is_composed() -> None:
    assert identifiers.display_name("e\u0301") == "é"


@given(st.text(max_size=120))
def test_a_product_name_is_always_a_valid_one(text: str) -> None:
    made = identifiers.product_name(text)
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", made)
    assert identifiers.check_product(made) == made
    assert identifiers.app_id(identifiers.default_id(made, "android"), "android")
    assert identifiers.app_id(identifiers.default_id(made, "ios"), "ios")


@pytest.mark.parametrize(
    ("text", "made"), [("class", "Class"), ("Swift", "SwiftApp"), ("con", "ConApp"), ("🎉", "PalmtopApp")]
)
def test_taken_names_get_another_end(text: str, made: str) -> None:
    assert identifiers.product_name(text) == made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("digits", "two parts"),
        ("com.example.class", "reserved word"),
        ("com.Fun.app", "reserved word"),
        ("com.example.when", "reserved word"),
        ("com..app", "after a letter"),
        ("com.1app.x", "after a letter"),
        ("com.my-app", "after a letter"),
        ("com.é", "after a letter"),
        ("com.a b", "after a letter"),
        ("com.a;b", "after a letter"),
        ("com.aux", "Windows"),
        ("com." + "x" * 150, "longer than"),
        ("../../etc", "after a letter"),
        ("com.app\n", "after a letter"),
    ],
)
def test_android_ids_that_no_compiler_takes_are_refused(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        identifiers.app_id(text, "android")


@pytest.mark.parametrize(
    "text", ["com", "com.my_app", "com.-x", "com.x-", "com.a b", "com.é", "com.$(X)", "a." * 90 + "b"]
)
def test_ios_ids_that_xcode_does_not_take_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="bundle id"):
        identifiers.app_id(text, "ios")


def test_each_platform_has_its_own_alphabet() -> None:
    assert identifiers.app_id("com.my-app.3d", "ios") == "com.my-app.3d"
    assert identifiers.app_id("com.my_app.d3", "android") == "com.my_app.d3"


@pytest.mark.parametrize("text", ["digits", "D-x", "", "Ä", "Foundation", "A" * 60, "../X"])
def test_a_product_name_from_a_file_is_checked(text: str) -> None:
    with pytest.raises(SettingsError, match="cannot be the name"):
        identifiers.check_product(text)
