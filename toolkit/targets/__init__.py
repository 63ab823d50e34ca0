"""Runtimes on the phone: one file a runtime, each a `toolkit.core.ports.Target`."""
