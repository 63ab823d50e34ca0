"""Streaming statistics of tensors, shared by all targets: one file a range method."""
