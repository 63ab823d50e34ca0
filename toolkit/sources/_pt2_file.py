"""Reads an untrusted ``.pt2`` archive: everything in it that PyTorch would run or unpickle is refused before it loads.

``torch.export.load`` unpickles weights that are marked so, evaluates the text of symbolic sizes, and looks operators up
by dotted names. The archive is therefore read as data first, and PyTorch gets a copy of exactly the bytes looked at.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.errors import ModelError
from toolkit.sources.base import cannot_read, one_line

SUFFIX = ".pt2"
LIMIT_BYTES = (2 << 30) - 1
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
EXPORT_AGAIN = (
    "Where it was trained: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2'), or name a "
    "function that returns the model: palmtop quantize FILE.py:FUNCTION"
)

_MODEL = re.compile(r"[^/]+/models/[^/]+\.json")
_PICKLED = re.compile(r"[^/]+/data/(weights|constants)/(.*\.pt|custom_obj_\d+|opaque_obj_\d+)")
_SAMPLES = re.compile(r"[^/]+/data/sample_inputs/[^/]+\.pt")
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims|higher_order)(\.\w+)+|_operator\.\w+|math\.\w+|torch\.sym_\w+")
_ROUNDING = re.compile(r"torch\.ops\.quantized_decomposed\.(de)?quantize_per_(tensor|channel)\.(default|tensor)")
_SIZE_WORDS = {
    "Symbol",
    "Integer",
    "Rational",
    "Add",
    "Mul",
    "Pow",
    "Max",
    "Min",
    "Mod",
    "PythonMod",
    "FloorDiv",
    "CleanDiv",
    "CeilDiv",
    "Eq",
    "Ne",
    "Ge",
    "Gt",
    "Le",
    "Lt",
    "True",
    "False",
    "positive",
    "nonnegative",
    "nonzero",
    "integer",
    "real",
    "evaluate",
}
_SIZE_NAME = re.compile(r"'[a-z]+\d+'|\b[su]\d+\b")
_SIZE_TEXT = re.compile(r"[\w\s+\-*/(),<>=]*")


def fault(path: Path) -> str | None:
    """Look at an archive's table of contents: None when it may be a ``.pt2``, else what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            begins = min((item.header_offset for item in archive.infolist()), default=0)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "it is a cut-off or damaged zip archive"
    if begins:  # only an archive inside it is whole, such as the one of its sample inputs
        return "it is a cut-off or damaged zip archive"
    inner = {name.partition("/")[2] for name in names}
    if any(_MODEL.fullmatch(name) for name in names):
        return None
    if "serialized_exported_program.json" in names:
        return "it was exported by PyTorch 2.8 or older; export it again with PyTorch 2.9 or later"
    if "constants.pkl" in inner:
        return "it is TorchScript, whose code palmtop does not run; export it with torch.export"
    if "data.pkl" in inner:
        return (
            "it is a pickle written by torch.save, which palmtop never reads, as that can run any code; save an "
            "export of the model instead (torch.export.save)"
        )
    if any("aotinductor" in name for name in names):
        return "it is compiled for a machine (AOTInductor), no longer a model"
    return "it is a zip archive without a model, so no PyTorch export"


def vetted(path: Path, *, rounded: bool = False) -> io.BytesIO:
    """Return a copy of the archive that PyTorch may load; ``rounded`` lets it quantize and dequantize tensors.

    Raises:
        ModelError: it is damaged, larger than 2 GB, or holds something that would be unpickled or evaluated, or an
            operator that PyTorch does not have.
    """
    wrong = fault(path)
    if wrong is not None:
        raise cannot_read(path, wrong, EXPORT_AGAIN)
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as made:
            _check_contents(path, archive)
            for item in archive.infolist():
                content = archive.read(item)
                _check_member(path, item.filename, content, rounded=rounded)
                made.writestr(zipfile.ZipInfo(item.filename), content)
    except (*_DAMAGED, OSError, ValueError, RuntimeError, EOFError) as error:  # RuntimeError: a password is asked for
        raise cannot_read(path, f"it is damaged ({one_line(error)})", "Copy or export the file again.") from error
    copy.seek(0)
    return copy


def _check_contents(path: Path, archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise cannot_read(path, "it holds two members of one name", "Do not trust this file; export the model again.")
    if sum(item.file_size for item in archive.infolist()) > LIMIT_BYTES:
        raise cannot_read(
            path, "it unpacks to more than 2 GB, the most that mobile formats hold", "Choose a smaller one."
        )
    models = [name for name in names if _MODEL.fullmatch(name)]
    if len(models) > 1:
        raise cannot_read(path, f"it holds {len(models)} models", "Save one model a file with torch.export.save.")


def _check_member(path: Path, name: str, content: bytes, *, rounded: bool) -> None:
    if _PICKLED.fullmatch(name):
        raise _pickled(path, name)
    if _SAMPLES.fullmatch(name):
        _check_samples(path, name, content)
    if name.endswith(".json"):
        for item in _objects(json.loads(content)):
            _check_object(path, item, rounded=rounded)


def _check_samples(path: Path, name: str, content: bytes) -> None:
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # PyTorch raises its own UnpicklingError, RuntimeError and others
        raise _pickled(path, name) from error


def _pickled(path: Path, name: str) -> ModelError:
    return cannot_read(
        path, f"its {name!r} would have to be unpickled, which can run any code", f"Save tensors only. {EXPORT_AGAIN}"
    )


def _check_object(path: Path, item: dict[str, Any], *, rounded: bool) -> None:
    if item.get("use_pickle"):
        raise _pickled(path, str(item.get("path_name")))
    target = item.get("target")
    known = isinstance(target, str) and rounded and _ROUNDING.fullmatch(target)
    if isinstance(target, str) and "inputs" in item and not known and not _OPERATOR.fullmatch(target):
        if "quantized" in target or "torchao" in target:
            raise cannot_read(
                path,
                f"it is quantized already: it calls {target}",
                "Give palmtop the float model it was made from; or `palmtop tune FILE -o DIR`, which keeps its ranges.",
            )
        raise cannot_read(
            path,
            f"it calls {target[:100]!r}, a custom operator, whose code is not in the file",
            "Rebuild that part with PyTorch's own operators and export it again.",
        )
    size = item.get("expr_str")
    if isinstance(size, str) and not _plain_size(size):
        raise cannot_read(path, f"the size {size[:60]!r} in it is no formula of sizes", "Export the model again.")


def _plain_size(text: str) -> bool:
    """Whether a text that SymPy would evaluate is a formula of sizes and nothing else."""
    rest = _SIZE_NAME.sub("0", text)
    words = set(re.findall(r"[A-Za-z_]\w*", rest))
    return len(text) < 1000 and bool(_SIZE_TEXT.fullmatch(rest)) and words <= _SIZE_WORDS


def _objects(plain: Any) -> Iterator[dict[str, Any]]:
    stack = [plain]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
