"""The folder is the registry: a module's name in a room is the word a user types. Third parties add by entry point."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from toolkit.core.errors import SettingsError, unknown_name


def names(room: str) -> tuple[str, ...]:
    """Return the names in a room such as ``toolkit.targets``, without importing any of them.

    Third parties join through the entry-point group ``palmtop.targets`` (the room's last word).
    """
    return tuple(sorted({*_own(room), *_foreign(room)}))


def load(room: str, name: str) -> ModuleType:
    """Import one module of a room by name.

    Raises:
        SettingsError: there is none of that name, and the nearest is offered; or a third party's cannot be imported.
    """
    if name in _own(room):
        return importlib.import_module(f"{room}.{name}")
    foreign = _foreign(room)
    if name in foreign:
        try:
            return importlib.import_module(foreign[name])
        except ImportError as error:
            raise SettingsError(
                f"{name!r} cannot be loaded from {foreign[name]}: {error}.",
                hint="It is not part of palmtop: update or uninstall the package that brings it.",
            ) from error
    kind = room.rpartition(".")[2].removesuffix("s")
    raise unknown_name(kind, name, names(room))


def _own(room: str) -> tuple[str, ...]:
    package = importlib.import_module(room)
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(name for name in found if not name.startswith("_") and name != "base")


def _foreign(room: str) -> dict[str, str]:
    import importlib.metadata  # slow to import, and most names are our own

    group = f"palmtop.{room.rpartition('.')[2]}"
    return {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
