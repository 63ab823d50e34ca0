"""Lowers ONNX models to MIL, Core ML's own intermediate language, with coremltools' builder."""
