"""`reconciler run`: the controller, until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

import click
import structlog

from reconciler.cli.context import Context
from reconciler.errors import ConfigError, SourceError, StateError
from reconciler.manager.app import Files, Manager
from reconciler.manager.config_files import digest_of, wait_until_settled, youngest_s
from reconciler.manager.intervals import Intervals
from reconciler.manager.logs import configure
from reconciler.manager.shutdown import Deadline, leave, left_s
from reconciler.manager.startup import FIRST_S, is_away, open_databases
from reconciler.server.starting import Front
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


@click.command("run")
@click.option("--host", metavar="H", help="Where to listen [server.host].")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="P", help="Which port; 0 takes a free one [server.port]."
)
@click.pass_obj
def command(context: Context, host: str | None, port: int | None) -> int:
    """Keep the shops equal until SIGTERM or SIGINT; then finish what is in hand and exit 0.

    Webhooks nudge, sweeps heal. A change of stores.yaml is taken once the file has settled, on SIGHUP immediately. A
    database that is away at the start is waited for. Logs are JSON on stderr, one object a line; a terminal is also told
    in plain words where it runs.
    """
    configure(debug=context.debug)
    files = _files(context)
    refused: set[str] = set()
    server = context.loaded.settings.server
    address = (host or server.host, server.port if port is None else port)
    with Deadline() as deadline:
        with _Signals() as signals, ExitStack() as ports:
            served = _Port(address, ports)
            while not signals.is_ending and not _served(context, files, served, signals):
                signals.wait(FIRST_S)
                files = _files_again(context, files, refused)
        if left := deadline.hanging():
            leave(left)
    return 0


def _files(context: Context) -> Files:
    """The files as they are now. Their digest is taken before they are read: what changes later is a change."""
    wait_until_settled(context.paths)
    return Files(context.paths, context.read, digest_of(context.paths))


def _files_again(context: Context, before: Files, refused: set[str]) -> Files:
    """The files before it begins once more; where they can't be read now, those that were read.

    `refused`: what was logged of them, each thing once.
    """
    files = _files(context)
    if files.digest == before.digest:
        return before
    try:
        context.read_again()
    except ConfigError as error:
        if error.message not in refused:
            refused.add(error.message)
            _log.error("config_refused", error=error.message, hint=error.hint)
        return before
    return files


def _warn(message: str) -> None:
    _log.warning("warning", message=message)


def _served(context: Context, files: Files, port: _Port, signals: _Signals) -> bool:
    """Run until the end is asked for. False: it must begin once more, since a database went or the files have changed."""
    with context.components(warn=_warn) as components, _opened(components, files, port, signals) as settled:
        if signals.is_ending:
            return True
        if not settled:
            return False
        manager = Manager(components, files, host=port.address[0], port=port.address[1], front=port.handed_over())
        signals.hand_to(manager)
        try:
            try:
                manager.start()
            except (StateError, SourceError) as error:
                if not is_away(error):
                    raise
                _log.warning("database_lost", error=error.message, hint="it begins once more")
                return False
            if context.err.is_terminal:
                context.say(f"running: {manager.url}")  # the log, which is JSON alone, says it by `started`
            manager.wait()
        finally:
            manager.close()
    return True


class _Port:
    """Where probes are answered before there is a manager, from the first wait on, however often it begins once more."""

    def __init__(self, address: tuple[str, int], ports: ExitStack) -> None:
        self.address = address
        self._ports = ports
        self._front: Front | None = None

    def tell(self, why: str) -> None:
        """Answer probes with 503 and this reason."""
        if self._front is None:
            self._front = Front(*self.address)
            self._ports.callback(self._front.stop)
            self._front.start()
            _log.info("port_opened", url=self._front.url)
        self._front.wait_for([why])

    def handed_over(self) -> Front | None:
        """What is served already, for a manager: it stops it in the end."""
        front, self._front = self._front, None
        return front


@contextmanager
def _opened(components: Components, files: Files, port: _Port, signals: _Signals) -> Iterator[bool]:
    """With the databases of this house open, or asked to end. Whether the files are those that were read."""
    open_databases(components, tell=port.tell, wait=signals.wait)
    yield signals.is_ending or _are_settled(components, files, port.tell, signals)


def _are_settled(components: Components, files: Files, tell: Callable[[str], None], signals: _Signals) -> bool:
    """Whether the files that were read may be worked with; waits where other replicas run with others, and these are new.

    A file may be valid and not whole: a store without the last line, its `where`, wants everybody. A replica that runs
    takes such a change late (`FollowedFiles`), and one that starts beside it no earlier.
    """
    try:
        others = {replica.config_digest for replica in components.state.replicas(now=components.state_clock.now())}
    except StateError as error:
        if not is_away(error):
            raise
        return False
    age_s, settles_s = youngest_s(files.paths), Intervals().removal_settles_s
    if not others or files.digest in others or age_s >= settles_s:
        return True
    why = f"the settings files were written {age_s:.0f} s ago: they are taken once they have settled"
    _log.info("files_awaited", reason=why)
    tell(why)
    while digest_of(files.paths) == files.digest:
        if youngest_s(files.paths) >= settles_s or signals.wait(FIRST_S):
            return True
    return False


class _Signals:
    """SIGTERM and SIGINT end, SIGHUP reads the files anew; what came before there was a manager is not forgotten."""

    def __init__(self) -> None:
        self.is_ending = False
        # A queue, since its `put` may interrupt itself: an Event set in a signal handler can wait for itself for ever.
        self._came: SimpleQueue[None] = SimpleQueue()
        self._manager: Manager | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._again)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hand_to(self, manager: Manager) -> None:
        self._manager = manager
        if self.is_ending:
            manager.stop()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the end is asked for; whether it was."""
        until = time.monotonic() + seconds
        while not self.is_ending and (left := left_s(until)):
            try:
                self._came.get(timeout=left)
            except Empty:
                break
        return self.is_ending

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.is_ending = True
        self._came.put(None)
        if self._manager is not None:
            self._manager.stop()

    def _again(self, _number: int, _frame: FrameType | None) -> None:
        if self._manager is not None:
            self._manager.reload_soon()
