"""`reconciler run` as processes: started, listened to, signalled, and ended by their own pid."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import httpx

from tests.clerk import sender
from tests.clock import WallClock
from tests.forks import Fork, fork_command
from tests.manager.harness import WAIT_S, RunHarness, until

ROOT = Path(__file__).parents[2]
QUICK = {
    "lease_s": 2.0, "poll_s": 0.02, "idle_poll_s": 0.05, "away_s": 0.2, "grace_s": 5.0, "beat_s": 0.2, "files_s": 0.2,
    "stale_beats_s": 3.0, "scan_lease_s": 3.0, "again_first_s": 0.3, "probe_every_s": 0.2, "probe_first_s": 0.2,
    "pauses": {"early_first_s": 0.1, "waiting_first_s": 0.5, "away_s": 0.2, "permanent_first_s": 1.0},
}  # fmt: skip


@dataclass(slots=True)
class Process:
    """One replica. `lines` are what it logged so far."""

    popen: subprocess.Popen[str] | Fork
    lines: list[str] = field(default_factory=list)
    url: str = ""

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def said(self, event: str) -> bool:
        return any(entry["event"] == event for entry in self.log())

    def started(self) -> None:
        def url() -> Any:
            if self.popen.poll() is not None:
                raise AssertionError("it has ended: " + "".join(self.lines))
            return next((entry["url"] for entry in self.log() if entry["event"] == "started"), None)

        self.url = until(url, "it is started")

    def clerk(self, kind: str, data: Any, message_id: str, *, within_s: float = WAIT_S) -> int | None:
        """A webhook of Clerk's, sent once; None where there was no answer in time."""
        body = sender.event(kind, data)
        headers = sender.headers(body, message_id=message_id, at=WallClock().now())
        with suppress(httpx.HTTPError):
            url = f"{self.url}/webhooks/clerk"
            return httpx.post(url, content=body, headers=headers, timeout=within_s).status_code
        return None

    def accepted(self, kind: str, data: Any, message_id: str) -> None:
        """The same webhook as Clerk sends it: again, until it is accepted."""
        until(lambda: self.clerk(kind, data, message_id, within_s=WAIT_S / 4) == 202, f"{message_id} is accepted")

    def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=WAIT_S).status_code == 200
        return False

    def reasons(self) -> list[str]:
        """Why it is not ready; empty where it is, or where nothing answers."""
        with suppress(httpx.HTTPError):
            return list(httpx.get(f"{self.url}/readyz", timeout=WAIT_S).json()["reasons"])
        return []

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self, within_s: float = WAIT_S) -> int:
        return self.popen.wait(within_s)


@contextmanager
def replicas(harness: RunHarness) -> Iterator[Any]:
    """Starts replicas; whatever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(state_url: str | None = None, **intervals: Any) -> Process:
            harness.write()
            config = harness.paths[0]
            if state_url is not None:
                config = harness.folder / f"config-{harness.new_id()}.yaml"
                settings = {**harness.settings, "state": {"url": state_url}}
                config.write_text(json.dumps({"version": 1, **settings}))
            files = ["--config", str(config), "--stores", str(harness.paths[1])]
            return begin([*files, "run", "--port", "0"], stack, {**QUICK, **intervals})

        yield start


def begin(words: Sequence[str], stack: ExitStack, intervals: Mapping[str, Any] | None = None) -> Process:
    """`reconciler` with these words as a fork (tests/forks.py), by default with the pauses of production."""
    fork = fork_command(words, intervals)
    return _listened_to(Process(fork), fork.err, stack)


def begin_installed(words: Sequence[str], stack: ExitStack) -> Process:
    """The same as it is installed: a new interpreter."""
    popen = subprocess.Popen(
        [Path(sys.executable).with_name("reconciler"), *words], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert popen.stderr is not None
    return _listened_to(Process(popen), popen.stderr, stack)


def _listened_to(process: Process, err: IO[str], stack: ExitStack) -> Process:
    def listen() -> None:
        with err:
            process.lines.extend(err)  # list.extend takes them one by one as they come

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    stack.callback(listener.join, WAIT_S)
    stack.callback(_end, process.popen)
    return process


def _end(popen: subprocess.Popen[str] | Fork) -> None:
    if popen.poll() is None:
        popen.send_signal(signal.SIGCONT)
        popen.kill()
    popen.wait(WAIT_S)


class Cable:
    """A network between a replica and its database, which can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._cut = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(WAIT_S)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        self._cut.set()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        self._cut.clear()

    def _accept(self) -> None:
        while not self._closed.is_set():
            near, _ = self._listener.accept()
            if self._cut.is_set() or self._closed.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to), 5)
            except OSError:  # the database is away, and so is this end of the line
                near.close()
                continue
            with self._lock:
                self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()
