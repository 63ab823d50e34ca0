"""Runs one file of unit tests in this process and writes the outcome of each: ``aosp_driver.py FILE RESULT``."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import unittest
from pathlib import Path


class Outcomes(unittest.TextTestResult):
    """Remembers how every test ended."""

    def __init__(self, *words: object, **names: object) -> None:
        super().__init__(*words, **names)
        self.ended: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.ended[_name(test)] = "passed"

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addFailure(test, err)
        self.ended[_name(test)] = "failed"

    def addError(self, test: unittest.TestCase, err: object) -> None:
        super().addError(test, err)
        self.ended[_name(test)] = "failed"

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.ended[_name(test)] = f"skipped: {reason}"


def _name(test: unittest.TestCase) -> str:
    return test.id().partition(".")[2]


def main(file: Path, result: Path) -> None:
    spec = importlib.util.spec_from_file_location("aosp_tests", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["aosp_tests"] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    found = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Outcomes, warnings="ignore").run(suite)
    result.write_text(json.dumps(found.ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # a test that failed may have left a thread that waits for a command for ever
