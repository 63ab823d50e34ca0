from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

from toolkit.core import process

NOBODY = "nobody"


def _server_programs() -> Path | None:
    """The folder with initdb and postgres: Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _as_user(folder: Path) -> list[str]:
    """Postgres refuses to run as root: hand the folder, and the way to it, to somebody else."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, NOBODY)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    return [shutil.which("setpriv") or "setpriv", f"--reuid={NOBODY}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server on loopback, without a database name; skipped by name where there is none."""
    programs = _server_programs()
    if programs is None:
        pytest.skip("the package postgresql is not installed")
    pytest.importorskip("psycopg")
    folder = tmp_path_factory.mktemp("postgres")
    user, port = _as_user(folder), _free_port()
    data = str(folder / "data")
    clean = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    made = process.run(
        [*user, str(programs / "initdb"), "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8", "--no-sync"],
        deadline_s=120, env=clean, cwd=folder,
    )  # fmt: skip
    assert made.code == 0, made.stderr
    options = f"-c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port}"
    control = [*user, str(programs / "pg_ctl"), "-D", data, "-w", "-t", "60", "-l", str(folder / "log")]
    started = process.run([*control, "-o", options, "start"], deadline_s=90, env=clean, cwd=folder)
    assert started.code == 0, started.stdout + started.stderr
    try:
        yield f"postgresql://tester@127.0.0.1:{port}"
    finally:
        process.run([*control, "-m", "immediate", "stop"], deadline_s=60, env=clean, cwd=folder)


def new_database(server: str) -> str:
    """Make a database on the server and return its URL."""
    name = f"t{secrets.token_hex(6)}"
    engine = sa.create_engine(f"{server}/postgres".replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link:
        link.exec_driver_sql(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'history.sqlite'}"
    return new_database(request.getfixturevalue("postgres"))
