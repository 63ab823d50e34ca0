"""ONNX operators that no ML Program of fixed shapes can compute, and why. What is missing elsewhere is our own lack."""

from __future__ import annotations

from collections.abc import Mapping

_STRINGS = "computes on strings, which Core ML has not"
_SEQUENCES = "computes on sequences, which an ML Program has only inside of loops"
_OPTIONAL = "asks whether a tensor is there, while an ML Program always has all of its tensors"
_RANDOM = "draws random numbers, so that no two runs agree"
_TRAINS = "is a step of training"
_COUNTED = "yields a tensor whose shape depends on the values of its input"

REASONS: Mapping[str, str] = {
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"), _STRINGS),
    **dict.fromkeys(
        ("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"), _SEQUENCES
    ),
    **dict.fromkeys(("SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence"), _SEQUENCES),
    **dict.fromkeys(("Optional", "OptionalGetElement", "OptionalHasElement"), _OPTIONAL),
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"), _RANDOM),
    **dict.fromkeys(("RandomUniform", "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("Adagrad", "Adam", "Gradient", "Momentum"), _TRAINS),
    **dict.fromkeys(("NonMaxSuppression", "NonZero", "Unique"), _COUNTED),
    "ImageDecoder": "decodes image files, which Core ML leaves to the app",
}

BITWISE = ("BitCast", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
"""Operators on bits, of which Core ML has none: divisions and remainders could compute them, but palmtop's do not."""
