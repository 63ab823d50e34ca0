"""Writing ``.tflite`` files through the schema's objects, which the TFLite source and the TFLite target both do."""

from __future__ import annotations

from typing import Any

_ALIGNMENT = 16
"""Of ``Buffer.data``, in bytes, by the TFLite schema."""
SIGNATURE_KEY = "serving_default"


def parse(content: bytes) -> Any:
    """Return a model as a ``ModelT`` of the schema."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def serialize(parsed: Any) -> bytes:
    """Return a ``ModelT`` as the bytes of a file, each buffer on a 16-byte border."""
    from ai_edge_litert.tools import flatbuffer_utils

    _align(parsed)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def sign(parsed: Any, inputs: dict[str, int], outputs: dict[str, int]) -> None:
    """Give a ``ModelT`` one signature: tensor numbers of the main graph by public name, in the order that counts."""
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.SignatureDefT()
    entry.signatureKey = SIGNATURE_KEY.encode()
    entry.subgraphIndex = 0
    entry.inputs = [_entry(name, index) for name, index in inputs.items()]
    entry.outputs = [_entry(name, index) for name, index in outputs.items()]
    parsed.signatureDefs = [entry]


def _entry(name: str, index: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = int(index)
    return entry


def _align(parsed: Any) -> None:
    """Have each buffer written on its border, as the schema asks and Python's flatbuffers does not do."""
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the schema module has no types
        def Pack(self, builder: Any) -> Any:  # noqa: N802  (the schema's own name)
            if self.data is None or not len(self.data):
                return super().Pack(builder)
            payload = bytes(memoryview(self.data))
            builder.StartVector(1, len(payload), _ALIGNMENT)
            builder.head -= len(payload)
            builder.Bytes[builder.head : builder.head + len(payload)] = payload
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    for position, buffer in enumerate(parsed.buffers):
        aligned = AlignedBuffer()
        aligned.data = buffer.data
        parsed.buffers[position] = aligned
