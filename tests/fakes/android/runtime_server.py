"""A real runtime behind a pipe, for the fakes of its Java API: one line of JSON a request, raw tensors behind it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np


class Onnx:
    def __init__(self) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        self.library = onnxruntime
        self.version = onnxruntime.__version__

    def open(self, path: str, threads: int) -> Any:
        options = self.library.SessionOptions()
        options.intra_op_num_threads = threads
        return self.library.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def ports(self, session: Any) -> tuple[list[Any], list[Any]]:
        words = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(int8)": "int8"}

        def told(nodes: Any) -> list[Any]:
            return [
                [node.name, words[node.type], [size if isinstance(size, int) else 1 for size in node.shape]]
                for node in nodes
            ]

        return told(session.get_inputs()), told(session.get_outputs())

    def run(self, session: Any, feeds: dict[str, Any], outputs: list[Any]) -> list[Any]:
        return list(session.run([name for name, *_ in outputs], feeds))


class Tflite:
    def __init__(self) -> None:
        from importlib.metadata import version

        from ai_edge_litert.interpreter import Interpreter

        self.library = Interpreter
        self.version = version("ai-edge-litert")

    def open(self, path: str, threads: int) -> Any:
        interpreter = self.library(model_path=path, num_threads=threads or None)
        interpreter.allocate_tensors()
        return interpreter.get_signature_runner()

    def ports(self, runner: Any) -> tuple[list[Any], list[Any]]:
        def told(details: Any) -> list[Any]:
            return [
                [name, np.dtype(detail["dtype"]).name, [int(size) for size in detail["shape"]]]
                for name, detail in details.items()
            ]

        return told(runner.get_input_details()), told(runner.get_output_details())

    def run(self, runner: Any, feeds: dict[str, Any], outputs: list[Any]) -> list[Any]:
        found = runner(**feeds)
        return [found[name] for name, *_ in outputs]


def serve(target: str, source: BinaryIO, sink: BinaryIO) -> None:
    runtime = {"onnx": Onnx, "tflite": Tflite}[target]()
    sessions: dict[int, Any] = {}

    def tell(answer: dict[str, Any], tensors: list[Any] | None = None) -> None:
        sink.write(json.dumps(answer).encode("ascii") + b"\n")
        for tensor in tensors or []:
            sink.write(tensor.tobytes())
        sink.flush()

    tell({"version": runtime.version})
    for line in iter(source.readline, b""):
        request = json.loads(line)
        if request["do"] == "open":
            try:
                session = runtime.open(request["path"], request["threads"])
                inputs, outputs = runtime.ports(session)
            except Exception as error:  # whatever the runtime says goes back to whoever asked
                tell({"error": " ".join(str(error).split())[:300]})
                continue
            number = len(sessions)
            sessions[number] = (session, inputs, outputs)
            tell({"id": number, "inputs": inputs, "outputs": outputs})
        elif request["do"] == "run":
            session, inputs, outputs = sessions[request["id"]]
            feeds = {
                name: np.frombuffer(source.read(size), dtype).reshape(shape)
                for (name, dtype, shape), size in zip(inputs, request["sizes"], strict=True)
            }
            found = [np.ascontiguousarray(value) for value in runtime.run(session, feeds, outputs)]
            tell({"sizes": [value.nbytes for value in found]}, found)
        else:
            sessions[request["id"]] = None
            tell({})


if __name__ == "__main__":
    serve(sys.argv[1], sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
