from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_records import run

from mobile_harness.cli._history_pages import pages_of
from mobile_harness.history import History
from mobile_harness.history.web import LOOPBACK, Page, Pages, Server
from toolkit.cli.main import execute
from toolkit.core.errors import OutputError

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    store = History(f"sqlite:///{tmp_path / 'h.sqlite'}")
    made = run()
    source = dataclasses.replace(made.manifest.source, name=HOSTILE)
    store.create(dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, source=source)))
    store.create(dataclasses.replace(run("20261123-0042-7f3a"), created_utc="2026-11-23T00:42:00Z"))
    yield from running(pages_of(store))


def running(pages: Pages) -> Iterator[Server]:
    made = Server(pages, 0)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    link = http.client.HTTPConnection(LOOPBACK, server.port, timeout=60)
    link.putrequest(method, path, skip_host=True)
    link.putheader("Host", host if host is not None else f"localhost:{server.port}")
    link.endheaders()
    answer = link.getresponse()
    body = answer.read().decode()
    link.close()
    return answer.status, body, dict(answer.headers)


def test_runs_are_listed_and_what_a_name_holds_is_shown_not_obeyed(server: Server) -> None:
    status, body, headers = ask(server, "/")
    assert status == 200
    assert 'href="/run/20261123-0041-7f3a"' in body
    assert "&lt;script&gt;alert(1)" in body
    assert "<script" not in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_a_run_a_comparison_and_a_trend_have_pages(server: Server) -> None:
    status, body, _ = ask(server, "/run/20261123-0042")
    assert (status, "20261123-0042-7f3a" in body) == (200, True)
    status, body, _ = ask(server, "/compare/latest~1/latest")
    assert (status, "Nothing could be compared" in body) == (200, True)
    status, body, _ = ask(server, "/trend/b0")
    assert (status, "No run has measured" in body) == (404, True)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "", "localhost@evil.example"])
def test_a_request_for_another_host_is_refused(server: Server, host: str) -> None:
    assert ask(server, "/", host)[0] == 421


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/run/..%2f..%2fetc%2fpasswd",
        "/run/",
        "/run/a/b",
        "/x" * 2000,
        "//etc/passwd",
    ],
)
def test_no_path_leaves_the_pages(server: Server, path: str) -> None:
    status, body, _ = ask(server, path)
    assert status in (400, 404)
    assert "root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert ask(server, "/", method=method)[0] == 501
    assert ask(server, "/", method="HEAD")[:2] == (200, "")


def test_it_listens_on_the_loopback_interface_alone(server: Server) -> None:
    outward = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in outward - {LOOPBACK}:
        if not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                socket.create_connection((address, server.port), timeout=2)


def test_a_taken_port_is_an_output_error(server: Server) -> None:
    with pytest.raises(OutputError, match=str(server.port)):
        Server(lambda parts, query: Page(html=""), server.port)


def test_a_long_list_goes_on_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mobile_harness.cli import _history_pages

    monkeypatch.setattr(_history_pages, "AT_ONCE", 2)
    store = History(f"sqlite:///{tmp_path / 'h.sqlite'}")
    for minute in range(3):
        store.create(dataclasses.replace(run(f"20261123-004{minute}-aaaa"), created_utc=f"2026-11-23T00:4{minute}:00Z"))
    pages = pages_of(store)
    first, rest = pages((), {}), pages((), {"from": "2"})
    assert first is not None
    assert rest is not None
    assert "0042-aaaa" in first.html
    assert "/compare/20261123-0041-aaaa/20261123-0042-aaaa" in first.html
    assert 'href="/run/20261123-0040-aaaa"' not in first.html
    assert "/?from=2" in first.html
    assert "0040-aaaa" in rest.html


def test_the_list_of_the_command_ends_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "h.sqlite")
    for minute in range(3):
        History(f"sqlite:///{place}").create(run(f"20261123-004{minute}-aaaa"))
    assert execute(["history", "--store", place, "--limit", "2"]) == 0
    assert "1 older runs: --limit 3 shows all." in capsys.readouterr().out
    assert execute(["history", "--store", place, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["count"], len(shown["runs"])) == (3, 3)
