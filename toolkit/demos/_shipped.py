"""Files that installed packages ship, found without importing the package and pinned by their hash."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from toolkit.core import store
from toolkit.core.errors import ModelError, ToolMissing


def shipped_file(package: str, inside: str, sha256: str) -> Path:
    """Return the path of a file in an installed package.

    Args:
        package: the import name of a top-level package; it is not imported.
        inside: the path within the package, with forward slashes.
        sha256: what the file must hash to.

    Raises:
        ToolMissing: the package or the file is not there.
        ModelError: the file is another one than it was made for.
    """
    spec = importlib.util.find_spec(package)
    places = [Path(place) / inside for place in (spec.submodule_search_locations or ())] if spec else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ToolMissing(
            f"The demo needs {inside} of the package {package!r}, which is not installed.",
            hint="Run `pip install 'palmtop[demo]'`.",
        )
    if store.sha256_of(path) != sha256:
        raise ModelError(
            f"{path} is not the file that this demo was made for.",
            hint=f"Run `pip install --force-reinstall 'palmtop[demo]'` to get the right version of {package}.",
        )
    return path
