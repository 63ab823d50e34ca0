"""The floors of the house hold: a room imports only downward, and no module stands outside of them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from toolkit.core import process

ROOT = Path(__file__).parent.parent


def test_the_floors_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    finished = process.run(
        [str(linter), "--no-cache"], cwd=ROOT, deadline_s=300, env={"NO_COLOR": "1", "COLUMNS": "100"}
    )
    assert finished.code == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"Contracts: {len(contracts)} kept, 0 broken." in finished.stdout


def test_every_floor_is_exhaustive() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [contract for contract in contracts if contract["type"] == "layers"]
    assert {name for floor in floors for name in floor["containers"]} == {"toolkit", "mobile_harness"}
    assert all(floor["exhaustive"] for floor in floors)
