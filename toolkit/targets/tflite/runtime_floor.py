"""The oldest runtime and Android version that can execute a graph.

Each operator has a version in the file, and each (operator, version) pair appeared in one release of TensorFlow Lite.
The table holds those releases as TensorFlow's sources list them (tensorflow/lite/tools/versioning, runtime_version.cc
for the releases, op_version.cc for the versions that dtypes need). The dtypes count because quantizers leave the
float model's operator versions in the file. LiteRT 1.0 follows TensorFlow Lite 2.17 and has all of it.

Android versions: LiteRT 1.4, the last with TensorFlow Lite's Interpreter alone, supports API 21; what only LiteRT 2.3
is known to execute needs its API 24 (ai.google.dev/edge/litert/android and the manifests of the published packages).
"""

from __future__ import annotations

from toolkit.core.artifacts import Requirements
from toolkit.targets.tflite.flatbuffer import Graph, Operator

_TFLITE, _TFLITE_API = "TensorFlow Lite or LiteRT", 21
_LITERT, _LITERT_MIN, _LITERT_API = "LiteRT", "2.3.0", 24

_INT8_VERSION = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "QUANTIZE": 1}
"""First version with an INT8 kernel, where it is not 2 (or the only one there is)."""
_PER_CHANNEL_DEQUANTIZE = 5

_RELEASES = {
    "ABS": "1.13.0 2.4.0 2.5.0 2.6.0",
    "ADD": "1.5.0 1.14.0 2.4.0 2.6.0",
    "ADD_N": "1.14.0",
    "ARG_MAX": "1.9.0 1.14.0 2.9.0",
    "ARG_MIN": "1.9.0 1.14.0 2.9.0",
    "ATAN2": "2.10.0",
    "AVERAGE_POOL_2D": "1.5.0 1.14.0 2.3.0",
    "BATCH_MATMUL": "2.3.0 2.3.0 2.4.0 2.5.0",
    "BATCH_TO_SPACE_ND": "1.6.0 1.14.0 2.3.0",
    "BROADCAST_ARGS": "2.6.0",
    "BROADCAST_TO": "2.5.0 2.5.0 2.5.0",
    "CAST": "1.5.0 2.7.0 2.8.0 2.9.0",
    "CEIL": "1.14.0",
    "CONCATENATION": "1.5.0 1.14.0 2.3.0",
    "CONV_2D": "1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0",
    "CONV_3D": "2.5.0",
    "CONV_3D_TRANSPOSE": "2.6.0",
    "COS": "1.14.0",
    "CUMSUM": "2.4.0",
    "DEPTHWISE_CONV_2D": "1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.3.0",
    "DEPTH_TO_SPACE": "2.1.0 2.5.0",
    "DEQUANTIZE": "1.13.1 1.14.0 1.15.0 2.2.0 2.7.0",
    "DIV": "1.6.0 2.3.0",
    "DYNAMIC_UPDATE_SLICE": "2.9.0",
    "ELU": "1.14.0",
    "EMBEDDING_LOOKUP": "1.13.0 1.14.0 1.14.0",
    "EQUAL": "1.14.0 1.14.0 2.3.0",
    "EXP": "1.7.0",
    "EXPAND_DIMS": "1.10.0",
    "FILL": "1.13.0 2.3.0 2.5.0",
    "FLOOR": "1.9.0",
    "FLOOR_DIV": "1.14.0 1.14.0",
    "FLOOR_MOD": "1.13.0",
    "FULLY_CONNECTED": "1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.3.0",
    "GATHER": "1.6.0 1.14.0 1.15.0 2.4.0 2.5.0",
    "GATHER_ND": "1.14.0 2.3.0 2.5.0",
    "GELU": "2.9.0 2.9.0",
    "GREATER": "1.14.0 1.14.0",
    "GREATER_EQUAL": "1.14.0 1.14.0",
    "HARD_SWISH": "1.15.0",
    "IF": "1.15.0",
    "L2_NORMALIZATION": "1.5.0 1.14.0",
    "L2_POOL_2D": "1.5.0",
    "LEAKY_RELU": "1.13.1 2.3.0",
    "LESS": "1.14.0 1.14.0",
    "LESS_EQUAL": "1.14.0 1.14.0",
    "LOCAL_RESPONSE_NORMALIZATION": "1.5.0",
    "LOG": "1.14.0",
    "LOGICAL_AND": "1.11.0",
    "LOGICAL_NOT": "1.11.0",
    "LOGICAL_OR": "1.11.0",
    "LOGISTIC": "1.14.0 1.14.0 2.3.0",
    "LOG_SOFTMAX": "1.14.0 1.14.0",
    "LSTM": "1.7.0 1.10.0 1.14.0 2.3.0",
    "MAXIMUM": "1.14.0 1.14.0 2.3.0 2.3.0",
    "MAX_POOL_2D": "1.5.0 1.14.0 2.3.0",
    "MEAN": "1.6.0 1.14.0 2.4.0",
    "MINIMUM": "1.14.0 1.14.0 2.3.0 2.3.0",
    "MIRROR_PAD": "1.13.1 2.3.0",
    "MUL": "1.5.0 1.14.0 1.15.0 2.3.0 2.6.0",
    "NEG": "1.9.0",
    "NON_MAX_SUPPRESSION_V4": "2.1.0",
    "NON_MAX_SUPPRESSION_V5": "2.1.0",
    "NOT_EQUAL": "1.14.0 1.14.0 2.3.0",
    "ONE_HOT": "1.11.0",
    "PACK": "1.11.0 1.14.0 2.3.0",
    "PAD": "1.5.0 1.14.0 2.4.0 2.6.0",
    "PADV2": "1.9.0 1.14.0 2.4.0 2.6.0",
    "POW": "1.10.0",
    "PRELU": "1.8.0",
    "QUANTIZE": "1.14.0 1.15.0 2.7.0",
    "RANGE": "1.13.0",
    "RANK": "1.14.0",
    "READ_VARIABLE": "2.6.0",
    "REDUCE_ALL": "2.6.0",
    "REDUCE_ANY": "1.11.0",
    "REDUCE_MAX": "1.11.0 1.14.0 2.5.0",
    "REDUCE_MIN": "1.11.0 1.14.0 2.5.0",
    "REDUCE_PROD": "1.11.0 2.6.0",
    "RELU": "1.5.0 2.1.0 2.5.0",
    "RELU6": "1.5.0 1.14.0 2.5.0",
    "RELU_0_TO_1": "2.10.0",
    "RELU_N1_TO_1": "1.5.0",
    "RESHAPE": "1.5.0",
    "RESIZE_BILINEAR": "1.7.0 1.14.0 2.2.0 2.5.0",
    "RESIZE_NEAREST_NEIGHBOR": "1.13.1 1.14.0 2.3.0 2.4.0",
    "REVERSE_V2": "1.14.0 2.2.0 2.5.0",
    "ROUND": "1.14.0",
    "RSQRT": "1.10.0 2.5.0",
    "SCATTER_ND": "2.1.0",
    "SELECT": "1.14.0 1.14.0",
    "SELECT_V2": "2.2.0",
    "SHAPE": "1.10.0",
    "SIN": "1.9.0",
    "SLICE": "1.14.0 1.14.0 1.14.0 2.4.0 2.5.0",
    "SOFTMAX": "1.5.0 1.14.0 2.3.0",
    "SPACE_TO_BATCH_ND": "1.6.0 1.14.0 2.3.0",
    "SPACE_TO_DEPTH": "1.5.0 1.14.0",
    "SPLIT": "1.5.0 1.14.0 1.14.0 2.3.0",
    "SPLIT_V": "1.13.1 2.3.0",
    "SQRT": "1.10.0",
    "SQUARE": "1.12.0",
    "SQUARED_DIFFERENCE": "1.13.1 2.5.0",
    "SQUEEZE": "1.6.0 2.5.0",
    "STRIDED_SLICE": "1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0",
    "SUB": "1.6.0 1.14.0 2.3.0 2.4.0 2.4.0",
    "SUM": "1.10.0 1.15.0",
    "SVDF": "1.5.0 1.14.0 2.2.0 2.3.0",
    "TANH": "1.14.0 1.14.0 2.3.0",
    "TILE": "1.10.1 2.2.0 2.8.0",
    "TOPK_V2": "1.7.0 1.14.0",
    "TRANSPOSE": "1.6.0 1.14.0 1.15.0 2.3.0 2.4.0",
    "TRANSPOSE_CONV": "1.9.0 2.2.0 2.3.0",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "1.13.1 1.14.0 2.3.0",
    "UNPACK": "1.11.0 1.14.0 2.2.0 2.3.0",
    "VAR_HANDLE": "2.6.0",
    "WHERE": "1.14.0 2.8.0",
    "WHILE": "1.15.0",
    "ZEROS_LIKE": "1.12.0",
}


def requirements_of(graphs: tuple[Graph, ...]) -> Requirements:
    """Return the floor of a model's subgraphs: the newest release that one of their operators needs."""
    floors = [_floor(graph, operator) for graph in graphs for operator in graph.operators]
    operators = tuple(sorted({operator.kind for graph in graphs for operator in graph.operators}))
    if any(floor is None for floor in floors):
        return Requirements(runtime=_LITERT, runtime_min=_LITERT_MIN, android_api_min=_LITERT_API, operators=operators)
    known = [floor for floor in floors if floor is not None]
    known += [graph.runtime_noted for graph in graphs if _is_release(graph.runtime_noted)]
    newest = max(known, key=_ordered, default="1.5.0")
    return Requirements(runtime=_TFLITE, runtime_min=newest, android_api_min=_TFLITE_API, operators=operators)


def _floor(graph: Graph, operator: Operator) -> str | None:
    """Return the release that brought this version of this operator, None where no list names it."""
    releases = _RELEASES.get(operator.kind, "").split() if operator.builtin else []
    version = max(operator.version, _version_for_dtypes(graph, operator, len(releases)))
    return releases[version - 1] if 1 <= version <= len(releases) else None


def _version_for_dtypes(graph: Graph, operator: Operator, newest: int) -> int:
    operands = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
    if not any(tensor.dtype == "int8" and tensor.scales for tensor in operands):
        return 1
    if operator.kind == "DEQUANTIZE" and any(tensor.scales > 1 for tensor in operands):
        return _PER_CHANNEL_DEQUANTIZE
    return _INT8_VERSION.get(operator.kind, min(2, newest))


def _is_release(text: str) -> bool:
    return bool(text) and all(part.isdigit() for part in text.split("."))


def _ordered(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))
