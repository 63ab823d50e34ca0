"""PyTorch models: ``.pt2`` files of ``torch.export.save``, and ``MODULE:FUNCTION`` that returns an ``nn.Module``.

Pickles (``.pt``, ``.pth``) are refused by name: reading one runs whatever code it holds.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.core import pins
from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError, ToolMissing
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.probe import probe_feeds
from toolkit.core.signature import check_feeds
from toolkit.sources import _onnx_form, _pt2_file, _torch_code
from toolkit.sources._torch_code import exported
from toolkit.sources.base import (
    cannot_read,
    check_shape_names,
    first_look,
    foreign_format,
    identifiers,
    one_line,
    static_shape,
)

SUFFIXES = (".pt2", ".pt", ".pth")
FORMS = ("onnx",)

_OPSET = 18
"""The oldest that PyTorch's exporter writes without converting back."""
_LIBRARIES = ("torch", "onnxscript", "onnx", "onnxruntime", "onnxslim")
_DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
_ODD = ("float16", "bfloat16", "float64")
_NO_OPERATOR = re.compile(r"(?:ONNX function (?:found )?for|decomposition.*?)\W*<?OpOverload\(op='([\w.]+)'")


def takes(path: Path) -> bool:
    """Whether a path that is no file names a function: ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``."""
    return _torch_code.place_of(path) is not None


def recognises(path: Path) -> str | None:
    """Look at the archive's table of contents, or for the function's file: None when it may be a model."""
    if takes(path):
        return None
    wrong = first_look(path)
    if wrong is not None:
        return wrong
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"\x80"):
        return (
            "it is a pickle written by torch.save, which palmtop never reads, as that can run any code; save an "
            "export of the model instead (torch.export.save)"
        )
    if not head.startswith(b"PK"):
        other = foreign_format(head)
        return f"it is {other}, not a PyTorch export" if other else "it is not a PyTorch export (a zip file)"
    return _pt2_file.fault(path)


def files(path: Path) -> tuple[Path, ...]:
    """Name the file, and the ranges that it was trained with if it brings any."""
    return pins.files(path)


def load(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Return the checked ``ExportedProgram``, every size fixed, for training.

    Raises:
        ModelError: as :func:`read`.
        ToolMissing: PyTorch is not installed.
    """
    return _program(path, shapes)


def load_rounded(path: Path) -> Any:
    """Return the program of a file that quantizes and dequantizes tensors besides what any program may do.

    Raises:
        ModelError: it is damaged, or holds something else that is foreign.
        ToolMissing: PyTorch is not installed.
    """
    _need_torch()
    import torch
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  (registers the operators)

    archive = _pt2_file.vetted(path, rounded=True)
    try:
        return torch.export.load(archive)
    except Exception as error:  # as :func:`_program`
        raise cannot_read(path, f"PyTorch says: {one_line(error)}", _pt2_file.EXPORT_AGAIN) from error


def call(path: Path) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Run the function that a path names and return its module with example inputs, not exported.

    Raises:
        ModelError: the path names no function, or it fails.
        ToolMissing: PyTorch is not installed.
    """
    _need_torch()
    place = _torch_code.place_of(path)
    if place is None:
        raise ModelError(f"{path} names no function.", hint="Name it MODULE:FUNCTION or FILE.py:FUNCTION.")
    return _torch_code.call(place)


def freeze(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> str:
    """Run the function that a path names, write its model as a ``.pt2`` and return the hash of graph and weights.

    Raises:
        ModelError: the code fails or gives no model, or the model cannot be exported.
        ToolMissing: PyTorch is not installed.
    """
    import torch

    program = _program(path, shapes)
    torch.export.save(program, str(out))
    return _fingerprint(program)


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the signature, batch 1 where it was left open; the shapes of outputs are those of one run.

    Raises:
        ModelError: the file is damaged or a pickle, would run code, is quantized, in half or double precision, in
            training mode, has no input, or an axis other than the first is unknown.
        ToolMissing: PyTorch is not installed.
    """
    return _session(path, shapes).signature


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write one ONNX file by PyTorch's own exporter, seen to compute what PyTorch does.

    Raises:
        ModelError: as :func:`read`; or an operator has no ONNX form (it is named); or the result computes otherwise.
    """
    if form not in FORMS:
        raise ModelError(f"A PyTorch model is not exported as {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    import torch

    session = _session(path, shapes)
    signature = session.signature
    try:
        made = torch.onnx.export(
            session.program,
            dynamo=True,
            external_data=False,
            verbose=False,
            opset_version=_OPSET,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
        )
    except Exception as error:  # the exporter's own kinds wrap anything
        raise _not_exported(path, error) from error
    _onnx_form.write(path, made.model_proto, session, out)


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the model as the float reference, executed by PyTorch on the CPU."""
    return _session(path, shapes)


def toolchain() -> tuple[ToolVersion, ...]:
    """Name PyTorch and what stands between it and ONNX, as far as it is installed."""
    known = [name for name in _LIBRARIES if importlib.util.find_spec(name) is not None]
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in known)


class TorchSession:
    """An exported program of static shapes, executed by PyTorch."""

    def __init__(self, program: Any, interface: _Interface) -> None:
        import torch

        torch.set_num_threads(min(4, os.cpu_count() or 1))
        self.program = program
        self._interface = interface
        self._module: Any = program.module()
        feeds = probe_feeds(Signature(inputs=interface.inputs, outputs=()))
        answers = self._call(feeds)
        outputs = tuple(
            TensorSpec(name=name, dtype=answers[name].dtype.name, shape=answers[name].shape)
            for name in interface.outputs
        )
        self.signature = Signature(inputs=interface.inputs, outputs=outputs)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :class:`toolkit.core.ports.Session`."""
        check_feeds(feeds, self.signature)
        return self._call(feeds)

    def close(self) -> None:
        self._module = None

    def _call(self, feeds: Feeds) -> dict[str, Array]:
        import torch
        from torch.utils import _pytree

        assert self._module is not None, "the session is closed"
        leaves = [torch.from_numpy(feeds[spec.name].copy()) for spec in self._interface.inputs]
        args, kwargs = _pytree.tree_unflatten(leaves, self.program.call_spec.in_spec)
        with torch.no_grad():
            answer = _pytree.tree_leaves(self._module(*args, **kwargs))
        return {
            name: value.detach().contiguous().numpy()
            for name, value in zip(self._interface.outputs, answer, strict=True)
        }


class _Interface(NamedTuple):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def _session(path: Path, shapes: dict[str, tuple[int, ...]]) -> TorchSession:
    program = _program(path, shapes)
    interface = _interface(path, program)
    try:
        return TorchSession(program, interface)
    except Exception as error:  # whatever an operator raises for these shapes
        sizes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in interface.inputs)
        raise cannot_read(
            path,
            f"PyTorch cannot execute it on inputs {sizes}: {one_line(error)}",
            "If the sizes are wrong, give them with --shape NAME=1,...",
        ) from error


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnxscript") is None:
        raise ToolMissing(
            "PyTorch models need PyTorch and onnxscript, which are not installed.",
            hint="Run: pip install 'palmtop[torch]'",
        )


def _program(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Return the checked ``ExportedProgram``, every size fixed."""
    _need_torch()
    import torch

    place = _torch_code.place_of(path)
    if place is not None:
        model, args, kwargs = _torch_code.call(place)
        program = exported(path, model, args, kwargs)
    else:
        wrong = recognises(path)
        if wrong is not None:
            raise cannot_read(path, wrong, _pt2_file.EXPORT_AGAIN)
        archive = _pt2_file.vetted(path)
        try:
            program = torch.export.load(archive)
        except Exception as error:  # PyTorch raises many kinds for an archive that is not what it says
            raise cannot_read(
                path, f"PyTorch {torch.__version__} says: {one_line(error)}", _pt2_file.EXPORT_AGAIN
            ) from error
    _check_weights(path, program)
    _check_nodes(path, program)
    return _fixed(path, program, shapes)


def _fixed(path: Path, program: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Return the program with the sizes that were left open fixed by tracing it again."""
    import torch
    from torch.utils import _pytree

    tensors = _user_inputs(path, program)
    names = identifiers(list(tensors))
    check_shape_names(shapes, names)
    open_axes, examples = False, []
    for name, value in zip(names, tensors.values(), strict=True):
        axes = [int(size) if isinstance(size, int) else None for size in value.shape]
        shape = static_shape(name, axes, shapes.get(name))
        open_axes = open_axes or None in axes
        examples.append(torch.zeros(shape, dtype=value.dtype))
    if not open_axes:
        return program
    args, kwargs = _pytree.tree_unflatten(examples, program.call_spec.in_spec)
    sizes = ", ".join(f"{name}={','.join(map(str, value.shape))}" for name, value in zip(names, examples, strict=True))
    try:
        return torch.export.export(program.module(), args, kwargs, strict=False)
    except Exception as error:  # the program's own guards among them
        raise cannot_read(
            path,
            f"it does not run with the sizes {sizes}: {one_line(error)}",
            "Give sizes within the bounds it was exported with, for example --shape NAME=2,...",
        ) from error


def _user_inputs(path: Path, program: Any) -> dict[str, Any]:
    found = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    tensors = {}
    for name in program.graph_signature.user_inputs:
        value = found.get(name) if isinstance(name, str) else None
        if value is None or not hasattr(value, "dtype"):
            raise cannot_read(
                path, f"its input {name!r} is not a tensor", "Export it with tensors as its only arguments."
            )
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype not in _DTYPES:
            raise cannot_read(
                path,
                f"its input {name!r} is {dtype}, which mobile runtimes do not take",
                f"Export it with inputs of: {', '.join(_DTYPES)}.",
            )
        tensors[name] = value
    if not tensors:
        raise cannot_read(path, "it has no input", "Export it with its inputs as arguments of forward.")
    return tensors


def _interface(path: Path, program: Any) -> _Interface:
    from torch.utils import _pytree

    tensors = _user_inputs(path, program)
    names = identifiers(list(tensors))
    inputs = tuple(
        TensorSpec(name=name, dtype=str(value.dtype).removeprefix("torch."), shape=tuple(map(int, value.shape)))
        for name, value in zip(names, tensors.values(), strict=True)
    )
    spec = program.call_spec.out_spec
    own = [str(name) for name in program.graph_signature.user_outputs]
    if any(name is None for name in program.graph_signature.user_outputs):
        raise cannot_read(path, "one of its outputs is None", "Return tensors only.")
    keys = list(spec.context) if spec.type is dict and spec.num_leaves == len(spec.context) else own
    assert len(keys) == len(own), _pytree.treespec_pprint(spec)
    return _Interface(inputs, tuple(identifiers([str(key) for key in keys], taken=names)))


def _check_weights(path: Path, program: Any) -> None:
    for name, tensor in {**program.state_dict, **program.constants}.items():
        dtype = str(getattr(tensor, "dtype", "")).removeprefix("torch.")
        if dtype in _ODD:
            raise cannot_read(
                path,
                f"{dtype} weights: {name!r} is {dtype}, and palmtop quantizes from float32",
                "Call model.float() and export it again.",
            )
    odd = [name for name in program.graph_signature.user_inputs if not isinstance(name, str)]
    if odd:
        raise cannot_read(path, f"its argument {odd[0]!r} is not a tensor", "Export it with tensors only.")


def _check_nodes(path: Path, program: Any) -> None:
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        target = str(node.target)
        if target.startswith(("quantized_decomposed", "torchao", "quantized")):
            raise cannot_read(
                path, f"it is quantized already: {node.name!r} is {target}", "Give palmtop the float model instead."
            )
        norm = target.startswith("aten.batch_norm") and len(node.args) > 5 and node.args[5] is True
        drop = (
            target.startswith(("aten.dropout", "aten.feature_dropout")) and len(node.args) > 2 and node.args[2] is True
        )
        if norm or drop or "batch_norm_legit_functional" in target:
            raise cannot_read(
                path,
                f"it was exported in training mode: {node.name!r} is {target}",
                "Call model.eval() before torch.export.export and save it again.",
            )


def _not_exported(path: Path, error: Exception) -> ModelError:
    chain: BaseException | None = error
    text = ""
    while chain is not None:
        text += f" {chain}"
        chain = chain.__cause__
    operators = sorted(set(_NO_OPERATOR.findall(text)))
    if operators:
        what = f"ONNX has no form of the operator {', '.join(operators)}"
        return cannot_read(path, what, "Replace that part of the model by common operators.")
    return cannot_read(
        path, f"PyTorch's exporter to ONNX fails: {one_line(error)}", "Export it to ONNX yourself and give the .onnx."
    )


def _fingerprint(program: Any) -> str:
    digest = hashlib.sha256(program.graph_module.code.encode())
    for node in program.graph.nodes:
        if node.op == "placeholder":
            digest.update(f"\0{node.name} {getattr(node.meta.get('val'), 'shape', '')}".encode())
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
