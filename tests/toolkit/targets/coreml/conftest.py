"""Lets child processes import the job modules of this folder, and makes the package that many tests start from."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import system_tools

# The search for doctests imports every module, also those that only a test with PyTorch asks for.
collect_ignore = [] if find_spec("torch") else ["coreml_torch_nets.py"]

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sound package, which tests copy before they damage it."""
    import coreml_program_jobs

    path = tmp_path_factory.mktemp("sound") / "small.mlpackage"
    isolate(system_tools(), 300, coreml_program_jobs.small_package, path)
    return path
