"""The server's thread: ports, starting, stopping, and clients that are too slow."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading

import httpx
import pytest
from structlog.testing import capture_logs

from reconciler.errors import ConfigError
from reconciler.server.app import make_app
from reconciler.server.run import ServerThread
from tests.manager.harness import until
from tests.server.services import MemoryService, options, serving


def test_port_0_takes_a_free_port_and_says_which() -> None:
    with ServerThread(make_app(MemoryService(), options()), "127.0.0.1", 0) as server:
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_after_stopping_no_one_listens_and_the_thread_has_ended() -> None:
    server = ServerThread(make_app(MemoryService(), options()), "127.0.0.1", 0)
    server.start()
    assert server.alive
    server.stop()
    server.stop()
    assert not server.alive
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


def test_a_request_in_progress_is_answered_before_the_server_stops() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(MemoryService):
        def readiness(self) -> list[str]:
            entered.set()
            assert leave.wait(60)
            return []

    answers: list[int] = []
    with ServerThread(make_app(Slow(), options()), "127.0.0.1", 0) as server:
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{server.url}/readyz").status_code))
        asking.start()
        assert entered.wait(60)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        leave.set()
        asking.join(60)
        stopping.join(60)
    assert answers == [200]


def test_a_port_that_is_taken_is_a_config_error_that_names_it() -> None:
    app = make_app(MemoryService(), options())
    with ServerThread(app, "127.0.0.1", 0) as server, pytest.raises(ConfigError) as caught:
        ServerThread(app, "127.0.0.1", server.port)
    assert str(server.port) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_a_host_that_is_not_ours_is_a_config_error(host: str) -> None:
    with pytest.raises(ConfigError):
        ServerThread(make_app(MemoryService(), options()), host, 0)


def closed_by_peer(connection: socket.socket) -> bytes:
    """What came until the other side hung up."""
    connection.settimeout(20)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=60)


def test_a_client_that_does_not_finish_its_head_is_cut_off() -> None:
    with serving(MemoryService(), head_s=0.2) as http, connected(http) as slow:
        slow.sendall(b"POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert closed_by_peer(slow) == b""


def test_a_second_head_on_one_connection_is_held_to_the_same_time() -> None:
    with serving(MemoryService(), head_s=0.2) as http, connected(http) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200")
        slow.sendall(b"GET /hea")
        assert b"HTTP/1.1" not in closed_by_peer(slow)


def test_a_client_that_does_not_finish_its_body_is_408_and_cut_off() -> None:
    service = MemoryService()
    with serving(service, options(body_s=0.2)) as http, connected(http) as slow:
        slow.sendall(b"POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc")
        assert closed_by_peer(slow).startswith(b"HTTP/1.1 408")
    assert service.untouched


def test_a_client_that_asks_first_is_answered_before_it_sends() -> None:
    with serving(MemoryService()) as http, connected(http) as polite:
        polite.sendall(
            b"POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\nexpect: 100-continue\r\n\r\n"
        )
        assert closed_by_peer(polite).startswith(b"HTTP/1.1 413")


def test_a_head_that_is_too_large_is_refused() -> None:
    with serving(MemoryService()) as http, connected(http) as large:
        large.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: " + b"x" * 100_000)
        assert closed_by_peer(large).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n"]
)
def test_what_is_no_http_is_refused_and_the_server_continues(http: httpx.Client, garbage: bytes) -> None:
    with connected(http) as odd:
        odd.sendall(garbage + b"\r\n\r\n")
        odd.shutdown(socket.SHUT_WR)
        assert closed_by_peer(odd).startswith(b"HTTP/1.1 400")
    assert http.get("/healthz").status_code == 200


def test_a_thousand_silent_connections_do_not_keep_a_probe_out() -> None:
    silent = 40
    with serving(MemoryService(), waiting_max=10) as http, contextlib.ExitStack() as opened:
        for n in range(silent):
            raw = opened.enter_context(socket.create_connection((http.base_url.host, http.base_url.port or 80), 20))
            if n % 2:
                raw.sendall(b"POST /nudge HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n{")
            assert http.get("/healthz").status_code == 200
        with httpx.Client(base_url=http.base_url) as newcomer:
            assert newcomer.get("/healthz").status_code == 200
            assert newcomer.get("/readyz").status_code == 200


def test_without_open_files_it_reports_once_and_accepts_again_when_there_are_some() -> None:
    """asyncio logged a traceback for each place of the backlog, each second: 30 MB in ten seconds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        serving(MemoryService()) as http,
        capture_logs() as lines,
        contextlib.ExitStack() as clients,
    ):
        assert http.get("/healthz").status_code == 200
        waiting = [clients.enter_context(socket.socket()) for _ in range(3)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting[-1].fileno() + 1, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    clients.callback(os.close, os.dup(0))
            for one in waiting:
                one.connect((http.base_url.host, http.base_url.port))
            until(lambda: lines, "it is reported")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting[-1].settimeout(60)
        waiting[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert waiting[-1].recv(12) == b"HTTP/1.1 200"
    assert [(line["event"], line["error"]) for line in lines] == [("connections_not_accepted", "Too many open files")]
