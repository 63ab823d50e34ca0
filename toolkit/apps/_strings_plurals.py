"""Which forms a counted noun has in a language: the cardinal plural categories of Unicode CLDR 48.

A language is given by its BCP-47 tag; where the tag is not listed, its first part (the language alone) counts.
"""

from __future__ import annotations

from typing import Final

CATEGORIES: Final = ("zero", "one", "two", "few", "many", "other")
"""All categories of CLDR, in its order."""

_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "ar": CATEGORIES,
    "bg": ("one", "other"),
    "ca": ("one", "many", "other"),
    "cs": ("one", "few", "many", "other"),
    "da": ("one", "other"),
    "de": ("one", "other"),
    "el": ("one", "other"),
    "en": ("one", "other"),
    "es": ("one", "many", "other"),
    "et": ("one", "other"),
    "fa": ("one", "other"),
    "fi": ("one", "other"),
    "fr": ("one", "many", "other"),
    "he": ("one", "two", "other"),
    "hi": ("one", "other"),
    "hr": ("one", "few", "other"),
    "hu": ("one", "other"),
    "id": ("other",),
    "it": ("one", "many", "other"),
    "ja": ("other",),
    "ko": ("other",),
    "lt": ("one", "few", "many", "other"),
    "lv": ("zero", "one", "other"),
    "nb": ("one", "other"),
    "nl": ("one", "other"),
    "pl": ("one", "few", "many", "other"),
    "pt": ("one", "many", "other"),
    "ro": ("one", "few", "other"),
    "ru": ("one", "few", "many", "other"),
    "sk": ("one", "few", "many", "other"),
    "sl": ("one", "two", "few", "other"),
    "sr": ("one", "few", "other"),
    "sv": ("one", "other"),
    "th": ("other",),
    "tr": ("one", "other"),
    "uk": ("one", "few", "many", "other"),
    "ur": ("one", "other"),
    "vi": ("other",),
    "zh": ("other",),
}

_SINGLE: Final[dict[str, tuple[str, ...]]] = {
    "ar": ("zero", "one", "two"),
    "he": ("one", "two"),
    "sl": (),
    **dict.fromkeys(("bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fi", "hu", "it"), ("one",)),
    **dict.fromkeys(("nb", "nl", "pl", "ro", "sk", "sv", "tr", "ur"), ("one",)),
}
"""Categories that stand for one whole number only, so that their text may spell it out instead of showing it."""


def _base(language: str) -> str:
    return language.partition("-")[0]


def known(language: str) -> bool:
    """Whether the plural categories of a language are listed here."""
    return _base(language) in _FORMS


def required(language: str) -> tuple[str, ...]:
    """Return the categories that a counted text must have in a language.

    >>> required("sr-Latn"), required("zh-Hans")
    (('one', 'few', 'other'), ('other',))
    """
    return _FORMS[_base(language)]


def spells_out(language: str, category: str) -> bool:
    """Say whether a form stands for one number alone, as ``one`` does in English but not in Russian (1, 21, 31 …).

    >>> spells_out("en", "one"), spells_out("ru", "one")
    (True, False)
    """
    return category in _SINGLE.get(_base(language), ())
