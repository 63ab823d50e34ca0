"""What an interrupted training goes on from: arrays in ``.npz`` files, and the entries of its epochs in ``tune.json``.

Nothing is pickled: a checkpoint from elsewhere can hold wrong numbers, not code.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from toolkit.core import codec, store
from toolkit.core.errors import ModelError, SettingsError
from toolkit.training.trainee import State
from toolkit.training.values import FILE, SCHEMA, Tuned

FOLDER = "checkpoints"


def write(folder: Path, epoch: int, state: State, tuned: Tuned) -> None:
    """Keep the state after an epoch, then say so in ``tune.json``; all but the last and the best are removed.

    Raises:
        OutputError: the folder cannot be written.
    """
    raw = io.BytesIO()
    arrays = {f"{number:05d}": array for number, array in enumerate(state.values())}
    names = np.frombuffer(json.dumps(list(state)).encode(), np.uint8)
    np.savez(raw, names=names, **arrays)  # type: ignore[arg-type]  # the keys are numbers, never `allow_pickle`
    store.write_atomic(path_of(folder, epoch), raw.getvalue())
    store.write_atomic(folder / FILE, codec.pretty(tuned))
    kept = {path_of(folder, epoch).name, path_of(folder, tuned.best_epoch).name}
    for old in (folder / FOLDER).glob("epoch-*.npz"):
        if old.name not in kept:
            old.unlink()


def path_of(folder: Path, epoch: int) -> Path:
    """Return where the state after an epoch lies."""
    return folder / FOLDER / f"epoch-{epoch:04d}.npz"


def load(folder: Path, epoch: int) -> State:
    """Read the state after an epoch.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = path_of(folder, epoch)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            names = json.loads(file["names"].tobytes().decode())
            return {str(name): file[f"{number:05d}"] for number, name in enumerate(names)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"Cannot read the checkpoint {path}: {error}.", hint="Remove its folder, and the training begins anew."
        ) from error


def read(folder: Path) -> Tuned | None:
    """Read the ``tune.json`` of a folder, None where there is none.

    Raises:
        ModelError: it is damaged or of another schema.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.get("schema") != SCHEMA:
            raise ModelError(f"{path} is of schema {plain.get('schema')}; this palmtop reads {SCHEMA}.")
        return codec.structure(plain, Tuned, what=str(path))
    except (OSError, ValueError, AttributeError, RecursionError, SettingsError) as error:
        raise ModelError(f"Cannot read {path}: {error}", hint="Choose another folder with -o.") from error
