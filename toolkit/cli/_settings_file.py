"""The text of a new ``palmtop.toml``: what is known filled in, the rest as comments that hold the defaults."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import store
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import OutputError
from toolkit.core.tools import Tools
from toolkit.stages import importer

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user told: the model, data, sizes for unknown axes, and where the file goes."""

    model: Path
    data: str | None
    labelled: str | None
    shapes: dict[str, tuple[int, ...]]
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The file that was written and what the model takes and gives, a line each."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def begin(wanted: Wanted, tools: Tools) -> Beginning:
    """Look at the model and write the file.

    Raises:
        ModelError: the model cannot be read; an unknown axis is named with the way to give it.
        OutputError: there is a file already, or it cannot be written.
    """
    if wanted.out.exists():
        raise OutputError(
            f"{wanted.out} is there already, and it is yours.",
            hint="Edit it, move it away, or write another one with -o.",
        )
    source = importer.read_source(wanted.model, wanted.shapes, tools)
    store.write_atomic(wanted.out, text_of(wanted, source.signature))
    inputs, outputs = (
        tuple(_spec(spec) for spec in specs) for specs in (source.signature.inputs, source.signature.outputs)
    )
    return Beginning(path=wanted.out, inputs=inputs, outputs=outputs)


def text_of(wanted: Wanted, signature: Signature) -> str:
    """Return the file; :func:`toolkit.cli.settings.read` takes it as it stands."""
    takes = "; ".join(_spec(spec) for spec in signature.inputs)
    gives = "; ".join(_spec(spec) for spec in signature.outputs)
    shapes = ", ".join(f"{_key(name)} = {list(shape)}" for name, shape in sorted(wanted.shapes.items()))
    folder = wanted.out.absolute().parent
    data, labelled = _place(wanted.data, folder), _place(wanted.labelled, folder)
    return "\n".join(
        [
            "# Settings of palmtop for this folder and those below it. Options and PALMTOP_* variables win over them.",
            "# Lines that begin with # are defaults, or examples of what is not known yet. Paths are from this file.",
            "",
            "[model]",
            f"# takes {_comment(takes)}",
            f"# gives {_comment(gives)}",
            f"path = {_text(_place(str(wanted.model), folder) or '')}",
            f"shapes = {{ {shapes} }}"
            if shapes
            else "# shapes = { x = [1, 224, 224, 3] }  # where the model leaves axes open",
            "",
            "[data]",
            _line("calibration", data, "calibration.npz", "an .npz, a folder of images by class, ..."),
            _line("labelled", labelled, "labelled.npz", "held-out samples with labels, to verify with"),
            "# samples = 200                    # calibrate on at most this many",
            "",
            "[preprocess]  # from a stored sample to the model's input; the generated apps do the same",
            *_preprocess(signature),
            "# scale = 0.00392156862745098      # (x * scale - mean) / std",
            "# mean = [0.485, 0.456, 0.406]",
            "# std = [0.229, 0.224, 0.225]",
            "",
            "[quantize]",
            '# targets = ["tflite", "onnx", "coreml"]',
            '# recipes = ["float32", "static-int8", "weight-int8"]',
            f"out = {_text(f'{wanted.model.stem}-builds')}",
            "# jobs = 2                         # builds made at once",
            "",
            "[verify]",
            '# metric = "top1"',
            _output_line(signature),
            "# max_drop = 0.01                  # the drop of the metric that is still fine",
            "# confidence = 0.95",
            "",
            "[bench]",
            '# plan = "quick"                   # quick, standard, gate or sustained',
            '# device = ["all"]                 # what is attached, unless named',
            "",
        ]
    )


def _preprocess(signature: Signature) -> list[str]:
    """Propose what the first image input's shape tells: its size, its channels and the order of its axes."""
    for spec in signature.inputs:
        if spec.dtype == "float32" and len(spec.shape) == 4 and min(spec.shape) > 0:
            last = spec.shape[3] in (1, 3)
            if last or spec.shape[1] in (1, 3):
                size = spec.shape[1:3] if last else spec.shape[2:]
                colour = "gray" if (spec.shape[3] if last else spec.shape[1]) == 1 else "rgb"
                layout = "nhwc" if last else "nchw"
                return [
                    f"# resize = [{size[0]}, {size[1]}]  # height, width; for images",
                    f'colour = "{colour}"',
                    f'layout = "{layout}"',
                ]
    return ["# resize = [224, 224]              # height, width; for images", '# colour = "rgb"', '# layout = "nhwc"']


def _output_line(signature: Signature) -> str:
    if len(signature.outputs) == 1:
        return "# output =                         # the output that the metric reads; this model has one"
    return f"# output = {_text(signature.outputs[0].name)}  # the output that the metric reads"


def _line(key: str, value: str | None, example: str, comment: str) -> str:
    return f"{key} = {_text(value)}" if value else f"# {key} = {_text(example)}  # {comment}"


def _place(place: str | None, folder: Path) -> str | None:
    """Return a path as seen from the folder of the file; ``package.module:function`` stays as it is."""
    if place is None or (":" in place and not Path(place).exists()):
        return place
    path = Path(place).expanduser().absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} {list(spec.shape)}"


def _text(value: str) -> str:
    """Return a TOML basic string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _comment(words: str) -> str:
    """Keep the words of a model file, which may hold anything, within their comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)
