"""The entry of the process: reads its one argument and never lets an error pass unsaid."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

from toolkit.host_runner import bench, order


def main(arguments: list[str]) -> int:
    """Run one session and return the exit code: 0 measured, 1 an error was told, 2 the argument makes no sense."""
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)
    try:
        wanted = order.read(arguments)
    except order.BadOrder as error:
        sys.stderr.write(f"host_runner: {error}\n")
        return 2
    return bench.serve(wanted)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # native libraries crash in their clean-up now and then; all that matters is on disk
