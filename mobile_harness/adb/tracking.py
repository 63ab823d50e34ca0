"""A server's own word that something was attached or left: a bell that rings, and no news of its own."""

from __future__ import annotations

import threading
from typing import Final

from mobile_harness.adb import server as servers
from mobile_harness.adb.address import Server
from mobile_harness.adb.link import Deadline, Link
from toolkit.core.errors import PalmtopError
from toolkit.core.process import Run

SERVICE: Final = "host:track-devices-l"
LINK_S: Final = 3600.0
"""A link is made anew after so long, so that one that died without a word is not waited on for ever."""
_PAUSES_S: Final = (0.1, 5.0)


class Tracker:
    """Follows one server in a thread and rings ``bell`` at every change, also when the server dies or comes back.

    A server of this machine that died is started again, with growing pauses between the attempts.
    """

    def __init__(self, server: Server, bell: threading.Event, run: Run) -> None:
        self._server = server
        self._bell = bell
        self._run = run
        self._over = threading.Event()
        self._link: Link | None = None
        self._pause_s = _PAUSES_S[0]
        self._thread = threading.Thread(target=self._follow, name=f"palmtop-track-{server}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its link."""
        self._over.set()
        if self._link is not None:
            self._link.hang_up()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                if self._server.is_local:
                    servers.start(self._server, self._run)
                self._listen()
            except PalmtopError:
                self._bell.set()  # whoever looks then is told the reason by the server, or by its absence
            self._over.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _PAUSES_S[1])

    def _listen(self) -> None:
        with Link.open(self._server, Deadline(LINK_S, f"`{SERVICE}` at {self._server}")) as link:
            self._link = link
            link.request(SERVICE)
            while not self._over.is_set():
                link.block()
                self._pause_s = _PAUSES_S[0]
                self._bell.set()
