"""The error tree: every class has a code of the contract, and names are offered."""

from __future__ import annotations

import pytest

from toolkit.core import errors

CODES = {
    "PalmtopError": 1,
    "UsageError": 2,
    "BadInput": 3,
    "ModelError": 3,
    "DataError": 3,
    "SettingsError": 3,
    "OutputError": 3,
    "FolderTaken": 3,
    "ChildFailed": 3,
    "GateFailed": 4,
    "SomeFailed": 5,
    "ToolMissing": 6,
}


def test_every_error_has_the_exit_code_that_users_rely_on() -> None:
    tree = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {name: kind.exit_code for name, kind in tree.items()} == CODES
    assert all(name in (errors.__doc__ or "") for name in tree)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onx", "Did you mean 'onnx'? Known: onnx, tflite."),
        ("zzz", "Known: onnx, tflite."),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, hint: str) -> None:
    assert errors.unknown_name("target", name, ["tflite", "onnx"]).hint == hint


def test_a_message_without_a_hint_reads_well() -> None:
    assert str(errors.DataError("No labels.")) == "No labels."
    assert str(errors.DataError("No labels.", hint="Add them.")) == "No labels. Add them."
