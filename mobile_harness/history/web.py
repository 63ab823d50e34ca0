"""A small read-only web server on the loopback interface, for browsing the history.

It answers GET and HEAD alone, and only where the request names this very address as its host, so that a page of some
other site cannot read it through a name that points here. Nothing of the file system is served: a path is a word for a
page, and what pages there are is the caller's affair. Responses forbid scripts, frames and connections.
"""

from __future__ import annotations

import html
import http.server
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from toolkit.core.errors import OutputError, PalmtopError

LOOPBACK = "127.0.0.1"
STRICT = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
OWN_POLICY = "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
"""For a page that carries a stricter policy of its own, such as a report with its script's hash."""
_PATH_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An HTML page. ``policy`` is its content security policy."""

    html: str
    policy: str = STRICT
    status: int = 200


Pages = Callable[[tuple[str, ...], dict[str, str]], Page | None]
"""Gives the page for the decoded parts of a path and its query; None: there is none. It may raise our errors."""


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a reader go away in the middle of a page: that is no fault to tell."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as the base class was called


class Server:
    """A server that is bound and answers once :meth:`run` is called.

    Raises:
        OutputError: the port is taken.
    """

    def __init__(self, pages: Pages, port: int) -> None:
        try:
            self._inner = _Listener((LOOPBACK, port), _handler(pages))
        except (OSError, OverflowError) as error:
            words = f"Cannot listen on port {port} of {LOOPBACK}: {error}."
            raise OutputError(words, hint="Choose another with --port; 0 takes any that is free.") from error
        self.port = int(self._inner.server_address[1])
        self.url = f"http://{LOOPBACK}:{self.port}/"

    def run(self) -> None:
        """Answer until :meth:`stop` is called from another thread, or the user interrupts."""
        try:
            self._inner.serve_forever(poll_interval=0.1)
        finally:
            self._inner.server_close()

    def stop(self) -> None:
        """End :meth:`run`."""
        self._inner.shutdown()


def _handler(pages: Pages) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        server_version = "palmtop"
        sys_version = ""
        timeout = 30

        def do_GET(self) -> None:
            self._answer(_page(self, pages), body=True)

        def do_HEAD(self) -> None:
            self._answer(_page(self, pages), body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
            """Say nothing: only the console prints."""

        def _answer(self, page: Page, *, body: bool) -> None:
            raw = page.html.encode("utf-8", "replace")
            self.send_response(page.status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("Content-Security-Policy", page.policy)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(raw)

    return Handler


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _page(request: http.server.BaseHTTPRequestHandler, pages: Pages) -> Page:
    port = request.server.server_address[1] if isinstance(request.server, http.server.HTTPServer) else 0
    if request.headers.get("Host", "") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
        return plain_page(HTTPStatus.MISDIRECTED_REQUEST, "This server answers for its own address only.")
    if len(request.path) > _PATH_MAX or not request.path.startswith("/"):
        return plain_page(HTTPStatus.BAD_REQUEST, "This path is none.")
    path, _, query = request.path.partition("?")
    parts = tuple(urllib.parse.unquote(part) for part in path.split("/") if part)
    fields = dict(urllib.parse.parse_qsl(query, max_num_fields=10)) if query.count("&") < 10 else {}
    try:
        found = pages(parts, fields)
    except PalmtopError as error:
        return plain_page(HTTPStatus.NOT_FOUND, str(error))
    return found or plain_page(HTTPStatus.NOT_FOUND, "There is no such page.")


def plain_page(status: HTTPStatus, words: str) -> Page:
    """Return a page that says one thing."""
    shown = html.escape(words)
    return Page(html=f"<!doctype html><meta charset=utf-8><title>palmtop</title><p>{shown}</p>", status=status.value)
