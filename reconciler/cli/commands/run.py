"""`reconciler run`: runs the controller until SIGTERM or SIGINT."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import structlog

from reconciler.cli.context import Context
from reconciler.cli.signals import Signals
from reconciler.errors import ConfigError, SourceError, StateError
from reconciler.manager.app import Manager
from reconciler.manager.config_files import digest_of, settled_digest, youngest_s
from reconciler.manager.intervals import Intervals
from reconciler.manager.logs import configure
from reconciler.manager.reload import SettingsFiles
from reconciler.manager.shutdown import Deadline, exit_now
from reconciler.manager.startup import FIRST_S, is_away, open_databases
from reconciler.server.starting import StartupServer
from reconciler.settings import Loaded
from reconciler.wiring import Components

OPEN_FILES_MAX = 65_536
_log = structlog.get_logger(__name__)


def run(
    context: Context,
    signals: Signals,
    *,
    host: str | None,
    port: int | None,
    log_format: str,
) -> int:
    configure(debug=context.debug, readable=log_format == "text" or (log_format == "auto" and sys.stderr.isatty()))
    _raise_limit_of_open_files()
    files = SettingsFiles(context.paths, context.read_settings, settled_digest(context.paths, wait=signals.wait))
    if signals.wait(0):
        return 0
    loaded = context.loaded
    refused: set[str] = set()
    server = loaded.settings.server
    address = (host or server.host, server.port if port is None else port)
    with Deadline() as deadline:
        with ExitStack() as ports:
            entry = _Port(address, ports)
            while not signals.is_ending and not _serve(context, loaded, files, entry, signals):
                entry.tell("the controller starts again: a database was lost, or the settings files have changed")
                signals.wait(FIRST_S)
                files, loaded = _read_again(files, loaded, refused, signals)
        if left := deadline.hanging():
            exit_now(left)
    return 0


def _raise_limit_of_open_files() -> None:
    """Use what the system allows: the usual 1,024 are few for hundreds of shops, and servers are expected to ask."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if 0 <= soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _read_again(
    files: SettingsFiles, loaded: Loaded, refused: set[str], signals: Signals
) -> tuple[SettingsFiles, Loaded]:
    """The settings files and their content before a restart; if they can't be read now, the previous ones.

    `refused` collects the errors that were logged, so that each is logged once.
    """
    digest = settled_digest(files.paths, wait=signals.wait)
    if digest == files.digest:
        return files, loaded
    try:
        return SettingsFiles(files.paths, files.read, digest), files.read()
    except ConfigError as error:
        if error.message not in refused:
            refused.add(error.message)
            _log.error("config_refused", error=error.message, hint=error.hint)
        return files, loaded


def _warn(message: str) -> None:
    _log.warning("warning", message=message)


def _serve(context: Context, loaded: Loaded, files: SettingsFiles, entry: _Port, signals: Signals) -> bool:
    """Run until a signal ends it. False if it must start again: a database was lost, or the files have changed."""
    with (
        context.components(loaded, warn=_warn, outage_s=0) as components,
        _open_databases(components, files, entry, signals, context.intervals or Intervals()) as settled,
    ):
        if signals.is_ending:
            return True
        if not settled:
            return False
        manager = Manager(
            components, files, host=entry.address[0], port=entry.address[1], intervals=context.intervals,
            startup_server=entry.take_server(),
        )  # fmt: skip
        signals.attach(manager)
        try:
            try:
                manager.start()
            except (StateError, SourceError) as error:
                if not is_away(error):
                    raise
                _log.warning("database_lost", error=error.message, hint="the controller starts again")
                return False
            if context.err.is_terminal:
                context.say(f"running: {manager.url}")  # the JSON log has it in `started`
            manager.wait()
        finally:
            manager.close()
    return True


class _Port:
    """The port on which probes are answered before a manager serves it, across restarts."""

    def __init__(self, address: tuple[str, int], ports: ExitStack) -> None:
        self.address = address
        self._ports = ports
        self._startup_server: StartupServer | None = None

    def tell(self, why: str) -> None:
        """Answer probes with 503 and this reason; starts serving on the first call."""
        if self._startup_server is None:
            self._startup_server = StartupServer(*self.address)
            self._ports.callback(self._startup_server.stop)
            self._startup_server.start()
            _log.info("port_opened", url=self._startup_server.url)
        self._startup_server.wait_for([why])

    def take_server(self) -> StartupServer | None:
        """Hand the running server over to a manager, which stops it in the end."""
        startup_server, self._startup_server = self._startup_server, None
        return startup_server


@contextmanager
def _open_databases(
    components: Components, files: SettingsFiles, entry: _Port, signals: Signals, intervals: Intervals
) -> Iterator[bool]:
    """Wait until the databases are open or a signal ends it. Yields whether the files are still those that were read."""
    open_databases(components, tell=entry.tell, wait=signals.wait)
    settles_s = intervals.removal_settles_s
    yield signals.is_ending or _wait_until_settled(components, files, entry.tell, signals, settles_s)


def _wait_until_settled(
    components: Components, files: SettingsFiles, tell: Callable[[str], None], signals: Signals, settles_s: float
) -> bool:
    """Whether the files that were read may be used. Waits if they are new and other replicas run different ones.

    A half-written file can be valid: a store without its last line, the `where`, selects every user. A running replica
    delays such a change (`FollowedFiles`), and one that starts beside it must not apply it earlier.
    """
    try:
        others = {
            replica.config_digest for replica in components.state.replicas.replicas(now=components.state_clock.now())
        }
    except StateError as error:
        if not is_away(error):
            raise
        return False
    age_s = youngest_s(files.paths)
    if not others or files.digest in others or age_s >= settles_s:
        return True
    why = f"the settings files were written {age_s:.0f} s ago: they take effect once they have settled"
    _log.info("files_awaited", reason=why)
    tell(why)
    while digest_of(files.paths) == files.digest:
        if youngest_s(files.paths) >= settles_s or signals.wait(FIRST_S):
            return True
    return False
