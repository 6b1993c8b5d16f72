"""`ConfigReload`: applies changed settings files to a replica that runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.errors import ConfigError, StateError
from reconciler.manager.config_files import FollowedFiles, listed, needs_restart, removals, without_restart
from reconciler.manager.http.senders import Senders
from reconciler.manager.intervals import Intervals
from reconciler.manager.metrics import Metrics
from reconciler.manager.replica import ReplicaRecord
from reconciler.manager.running_config import RunningConfig
from reconciler.settings import Loaded
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


@frozen
class SettingsFiles:
    """The files that `run` follows, and the function that reads them."""

    paths: tuple[Path, ...]
    read: Callable[[], Loaded]
    digest: str | None = None
    """The digest on disk just before the settings were read; None: the present one."""


@frozen
class StoresChange:
    """What a reload has changed in stores.yaml. `due`: stores that are in force in another way, or are suspended."""

    changed: Sequence[StoreName]
    gone: Sequence[StoreName]
    due: frozenset[StoreName]


class ConfigReload:
    """Reads the files when they change or on request. Thread-safe.

    `note_load` is called after each reload before the stores are followed, and `follow` with what has changed in them.
    """

    def __init__(
        self,
        files: SettingsFiles,
        on_disk: FollowedFiles,
        running: RunningConfig,
        loaded: Loaded,
        senders: Senders,
        replica: ReplicaRecord,
        metrics: Metrics,
        intervals: Intervals,
        *,
        note_load: Callable[[], None],
        follow: Callable[[StoresChange], None],
    ) -> None:
        self._files, self._on_disk, self._running, self._settings = files, on_disk, running, loaded.settings
        self._senders, self._replica, self._metrics, self._intervals = senders, replica, metrics, intervals
        self._note_load, self._follow = note_load, follow
        self._lock = threading.Lock()
        metrics.follow(store.name for store in loaded.stores)

    def reload(self, *, settled_s: float = math.inf) -> None:
        """Read both files and apply them. A faulty edit is refused with an error, and the running config stays.

        `settled_s`: for how many seconds they have not changed; a removal is applied only after a while.
        """
        with self._lock:
            if math.isinf(settled_s):
                self._on_disk.check()
            try:
                read = self._files.read()
                loaded = without_restart(self._settings, read)
                self._senders.check(loaded)
            except ConfigError as error:
                self._refuse(error)
                return
            if not self._on_disk.is_unchanged():
                return  # changed while it was read: the next check applies it, or the one after
            with self._running.components() as components:
                before = components.loaded
            if before == loaded and loaded.settings != read.settings:
                self._refuse(needs_restart())
                return
            removed = removals(before.stores, loaded.stores)
            if removed and settled_s < self._intervals.removal_settles_s:
                self._note_problem(f"it no longer has {listed(removed)}: applied once it stays unchanged for a while")
                return
            former = self._running.stores()
            known = self._replace(loaded, removed)
            if known is None:
                return
            self._senders.follow(loaded)
            self._senders.follow_shops(self._running.stores(), known)
            self._note_applied(loaded, is_whole=loaded.settings == read.settings)
            change = _change(before, loaded, self._running.due_since(former))
            self._follow(change)

    def _replace(self, loaded: Loaded, removed: Mapping[str, Sequence[str]]) -> Sequence[KnownShop] | None:
        """Use these files from now on, and return the shops that the state knows; None if they are refused for now."""
        try:
            with self._running.components() as components:
                if removed:
                    mapped = {s.name: components.state.mappings.count(s.shop) for s in components.stores(removed)}
                    _log.warning("config_removal", removed=removed, mapped=mapped)
                known = components.state.shops.known_shops()
            self._running.replace(Components(loaded, self._running.connections))
        except StateError as error:
            self._note_problem(f"it is applied once the state answers: {error.message}")
            return None
        except ConfigError as error:
            self._refuse(error)
            return None
        return known

    def _note_applied(self, loaded: Loaded, *, is_whole: bool) -> None:
        """`is_whole`: no part of the files needs a restart."""
        self._settings = loaded.settings
        self._replica.write_soon()  # other replicas see these files soon
        self._note_load()
        self._metrics.note_reload("taken")
        self._metrics.follow(store.name for store in loaded.stores)
        if is_whole:
            self._on_disk.mark_running()
            self._note_problem(None)
        else:
            self._refuse(needs_restart())

    def _refuse(self, error: ConfigError) -> None:
        """Log and count a refused file once, however often it is read."""
        problem = f"refused: {error.message}"
        if problem != self._replica.problem:
            self._metrics.note_reload("refused")
            _log.error("config_refused", error=error.message, hint=error.hint or "the running config stays")
        self._note_problem(problem)

    def _note_problem(self, problem: str | None) -> None:
        """Keep why the files on disk do not run (None: they do), for the console, the metrics and `status`."""
        if problem != self._replica.problem:
            self._replica.problem = problem
            self._replica.write_soon()
        self._metrics.config_current(problem is None)

    def follow_files(self) -> None:
        """Apply changed files once they have settled, and record from time to time that this replica runs."""
        with self._lock:
            settled_s, differs = self._on_disk.check(), self._on_disk.differs
            if not differs:
                self._note_problem(None)
            elif not settled_s and self._replica.problem is None:
                self._note_problem("it has changed, and is applied once it has settled")
        if differs and settled_s:
            self.reload(settled_s=settled_s)
        if self._replica.is_due:
            self._replica.write()
            self._follow_shop_names()

    def _follow_shop_names(self) -> None:
        """Accept webhooks under the names that shops have had, also where another replica was first to see them."""
        with suppress(StateError), self._lock:
            self.read_shop_names()

    def read_shop_names(self) -> None:
        """Read the names that shops have had from the state. StateError."""
        known = self._running.connections.state.shops.known_shops()
        self._senders.follow_shops(self._running.stores(), known)


def _change(before: Loaded, now: Loaded, due: frozenset[StoreName]) -> StoresChange:
    """Log and return what has changed."""
    former, stores = ({store.name: store for store in each.stores} for each in (before, now))
    changed = sorted(name for name in former.keys() & stores.keys() if former[name] != stores[name])
    gone, new = sorted(former.keys() - stores.keys()), sorted(stores.keys() - former.keys())
    _log.info("config_loaded", stores=len(stores), changed=changed, new=new, gone=gone)
    return StoresChange(changed, gone, due)
