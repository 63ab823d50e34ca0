"""Names of an app: what people read may be any text, what compilers read is validated, never escaped."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

from toolkit.core.errors import SettingsError

Platform = Literal["android", "ios"]
PLATFORMS: Final[tuple[Platform, ...]] = ("android", "ios")

NAME_MAX: Final = 100
ID_MAX: Final = 150
_PRODUCT_MAX: Final = 40
_ANDROID_PART: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_IOS_PART: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)
_PRODUCT: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,49}", re.ASCII)

_JVM_KEYWORDS: Final = """
    abstract as assert boolean break byte case catch char class const continue default do double else enum extends
    false final finally float for fun goto if implements import in instanceof int interface is long native new null
    object package private protected public return short static strictfp super switch synchronized this throw throws
    transient true try typealias typeof val var void volatile when while
"""
_JVM_WORDS: Final = frozenset(_JVM_KEYWORDS.split())
"""Keywords of Java (JLS 3.9) and hard keywords of Kotlin: none can be a part of a package name."""
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}
)
"""Names that Windows keeps for devices: no folder can have them, and a package is folders."""
_SWIFT_NAMES: Final = """
    app any self type swift foundation coreml swiftui uikit testing xctest benchcore onnxruntime vision combine
    charts darwin dispatch objectivec observation protocol text view image scene string int double bool array
    dictionary error result task data url
"""
_TAKEN_MODULES: Final = frozenset(_SWIFT_NAMES.split())
"""Swift modules and types that a product's module of the same name would hide."""


def display_name(text: str) -> str:
    """Return the name that people read, composed (NFC) and without spaces around it.

    Raises:
        SettingsError: it is empty, too long, or holds what steers a screen rather than shows on it.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name or len(name) > NAME_MAX:
        raise SettingsError(
            f"The app's name has {len(name)} characters; it needs 1 to {NAME_MAX}.", hint="Give a shorter --name."
        )
    steering = [one for one in name if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp", "Cn") or _is_bidi(one)]
    if steering:
        raise SettingsError(
            f"The app's name holds the character U+{ord(steering[0]):04X}, which no screen shows.",
            hint="Leave control characters out of --name.",
        )
    return name


def _is_bidi(letter: str) -> bool:
    """Say whether it overrides the direction of text; joiners, which emoji and scripts need, do not."""
    return "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069"


def product_name(text: str) -> str:
    """Return an identifier in UpperCamelCase for a display name, the same every time.

    >>> product_name("Épis & blés"), product_name("3 dogs"), product_name("数字"), product_name("swift")
    ('EpisBles', 'App3Dogs', 'PalmtopApp', 'SwiftApp')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Za-z0-9]+", plain)
    made = "".join(word[0].upper() + word[1:] for word in words)[:_PRODUCT_MAX]
    if not made:
        return "PalmtopApp"
    if made[0].isdigit():
        made = f"App{made}"
    return f"{made}App" if made.lower() in _TAKEN_MODULES or made.lower() in _DEVICES else made


def check_product(name: str) -> str:
    """Return a product name that was read from a file.

    Raises:
        SettingsError: it is no identifier in UpperCamelCase.
    """
    if not _PRODUCT.fullmatch(name) or name.lower() in _TAKEN_MODULES | _DEVICES:
        raise SettingsError(
            f"{name[:60]!r} cannot be the name of a product.", hint="Letters and digits, such as Digits."
        )
    return name


def app_id(text: str, platform: Platform) -> str:
    """Return a valid application or bundle id.

    Raises:
        SettingsError: it is not, and why.

    >>> app_id("com.example.digits", "android")
    'com.example.digits'
    """
    if fault := _fault(text, platform):
        kind = "application id" if platform == "android" else "bundle id"
        raise SettingsError(f"{text[:60]!r} is no {kind}: {fault}.", hint="Write one such as --id com.example.digits.")
    return text


def _fault(text: str, platform: Platform) -> str:
    parts = text.split(".")
    if len(text) > ID_MAX:
        return f"it is longer than {ID_MAX} characters"
    if len(parts) < 2:
        return "it needs two parts or more with dots between them"
    shape = _ANDROID_PART if platform == "android" else _IOS_PART
    for part in parts:
        if not shape.fullmatch(part):
            allowed = "letters, digits and _" if platform == "android" else "letters, digits and -"
            return f"its part {part[:30]!r} is not {allowed}" + (" after a letter" if platform == "android" else "")
        if platform == "android" and part.lower() in _JVM_WORDS:
            return f"{part!r} is a reserved word of Java or Kotlin"
        if platform == "android" and part.lower() in _DEVICES:
            return f"{part!r} cannot be a folder on Windows"
    return ""


def default_id(product: str, platform: Platform) -> str:
    """Return the id of an app whose author named none.

    >>> default_id("Digits", "ios")
    'com.example.digits'
    """
    part = product.lower()
    return f"com.example.{f'{part}app' if part in _JVM_WORDS | _DEVICES else part}"
