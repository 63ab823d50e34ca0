"""Which operators an accelerator takes, where its makers published a list. Data and one lookup; pure.

A list may be older than the runtime: what is missing on it is a reason to look at the placement in a bench, no more.
Where there is no list nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """``operators`` as the build's runtime names them, None: no list is published. ``carried`` go with the others."""

    operators: frozenset[str] | None
    source: str
    carried: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_QUANTIZE = _words("QuantizeLinear DequantizeLinear")

DELEGATES: dict[tuple[str, str], Delegate] = {
    ("tflite", "gpu"): Delegate(
        operators=_words(
            "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXP FULLY_CONNECTED LOGISTIC LSTM MAX_POOL_2D "
            "MAXIMUM MINIMUM MUL PAD PRELU RELU RELU6 RESHAPE RESIZE_BILINEAR SOFTMAX STRIDED_SLICE SUB TRANSPOSE_CONV"
        ),
        carried=_words("QUANTIZE DEQUANTIZE"),
        source="TensorFlow Lite GPU delegate, supported ops (tensorflow.org/lite/performance/gpu_advanced)",
    ),
    ("tflite", "npu"): Delegate(operators=None, source="ai.google.dev/edge/litert/next/npu names chips, no operators"),
    ("tflite", "metal"): Delegate(operators=None, source="no list of its own; the GPU delegate's is for OpenCL"),
    ("onnx", "xnnpack"): Delegate(
        operators=_words("AveragePool Conv ConvTranspose MaxPool Softmax QLinearConv Resize Gemm MatMul")
        | _words("com.microsoft.QLinearAveragePool com.microsoft.QLinearSoftmax com.microsoft.QLinearConvTranspose"),
        carried=_QUANTIZE,
        source="ONNX Runtime documentation, XNNPACK execution provider, supported ops",
    ),
    ("onnx", "qnn"): Delegate(
        operators=_words(
            "Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Clip Concat Conv "
            "ConvTranspose Cos DepthToSpace DequantizeLinear Div Elu Equal Exp Expand Flatten Floor Gather Gelu "
            "Gemm GlobalAveragePool Greater GreaterOrEqual GridSample HardSwish InstanceNormalization LRN "
            "LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Min "
            "Mul Neg Not Or PRelu Pad Pow QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu "
            "Resize Round Sigmoid Sign Sin Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Tanh Tile TopK "
            "Transpose Unsqueeze Where com.microsoft.DequantizeLinear com.microsoft.Gelu "
            "com.microsoft.QuantizeLinear"
        ),
        source="ONNX Runtime documentation, QNN execution provider, supported ONNX operators",
    ),
    ("onnx", "coreml"): Delegate(
        operators=_words(
            "Add ArgMax AveragePool Cast Clip Concat Conv ConvTranspose DepthToSpace Div Erf Gelu Gemm "
            "GlobalAveragePool GlobalMaxPool GridSample GroupNormalization InstanceNormalization LayerNormalization "
            "LeakyRelu MatMul Max MaxPool Mul PRelu Pow Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape Resize "
            "Round Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze"
        ),
        source="ONNX Runtime documentation, CoreML execution provider, operators of ML Programs",
    ),
    ("coreml", "ane"): Delegate(operators=None, source="Apple publishes none; MLComputePlan tells on the device"),
    ("coreml", "gpu"): Delegate(operators=None, source="Apple publishes none; MLComputePlan tells on the device"),
}


def missing(delegate: Delegate, operators: tuple[str, ...]) -> tuple[str, ...]:
    """Return the operators of a build that are not on a delegate's list; none where there is no list."""
    if delegate.operators is None:
        return ()
    return tuple(name for name in operators if name not in delegate.operators | delegate.carried)
