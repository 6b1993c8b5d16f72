"""Bulk turns as one replica takes them: one of a store at a time, with every error in place, ended where they should end.

Whether another replica is at it is decided by the lease under which bulk operations are carried out.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import structlog

from reconciler.controller.beside import Ended as EndedEarly
from reconciler.controller.beside import Ending
from reconciler.controller.bulk_turn import TurnDesk, bulk_turn, is_due
from reconciler.core.model.ids import StoreName
from reconciler.errors import (
    AccessError,
    ConfigError,
    LeaseLost,
    PermanentError,
    SourceError,
    StateError,
    TemporaryError,
)
from reconciler.manager.crew import Crew
from reconciler.manager.failing import Failing
from reconciler.manager.metrics import Metrics
from reconciler.manager.probes import Probes
from reconciler.manager.rhythm import Rhythm
from reconciler.ports import Clock
from reconciler.settings import StoreSettings
from reconciler.state.requests.queue import new_owner
from reconciler.wiring import House

Ended = Literal["done", "nothing", "stopped", "failed", "access", "lost"]
BULK: Final = "bulk"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Asked:
    """A turn that was asked for, and perhaps is under way; `store` is as it was then."""

    store: StoreSettings
    ending: Ending = field(default_factory=Ending)


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float
    until: float


class BulkTurns:
    """Takes turns; any number of stores side by side."""

    def __init__(
        self,
        crew: Crew,
        clock: Clock,
        metrics: Metrics,
        probes: Probes,
        failing: Failing,
        *,
        wake: Callable[[], None],
        interval_s: float,
        rhythm: Rhythm,
    ) -> None:
        self._crew, self._clock, self._metrics, self._probes = crew, clock, metrics, probes
        self._failing = failing
        self._wake, self._interval_s, self._rhythm = wake, interval_s, rhythm
        self._owner = new_owner()  # not the workers': what a turn has in hand takes no room from them
        self._asked: dict[StoreName, _Asked] = {}
        self._pauses: dict[StoreName, _Pause] = {}
        self._well: set[StoreName] = set()  # whose last turn ended well, or has nothing left to do
        self._stopped = False
        self._lock = threading.Lock()

    def due(self) -> list[StoreName]:
        """The stores that need a turn and have none; whoever is told so takes one of each."""
        found = []
        with self._crew.house() as house:
            for store in house.stores():
                if not self._may_begin(store):
                    continue
                if not self._is_due(house, store):
                    self._went_well(store.name)
                else:
                    with self._lock:
                        if self._stopped or store.name in self._asked:
                            continue
                        self._asked[store.name] = _Asked(store)
                    found.append(store.name)
        return found

    def turn(self, name: StoreName) -> None:
        """The turn of a store that was due, unless the store has changed since."""
        with self._lock:
            asked = self._asked[name]
        ended: Ended = "failed"
        try:
            with self._crew.house() as house:
                is_same = self._crew.store(name) == asked.store and name not in self._crew.suspended()
                ended = self._taken(house, asked) if is_same else "stopped"
        finally:
            with self._lock:
                del self._asked[name]
                self._pause(name, ended)
        self._wake()

    def follow(self) -> None:
        """End the turns of stores that are no more, or are others now: the next ones go on as those say."""
        with self._lock:
            asked = list(self._asked.values())
        for each in asked:
            if self._crew.store(each.store.name) != each.store:
                each.ending.end()

    def stop(self) -> None:
        """End them all; what runs at a shop is gone on with by whoever comes next."""
        with self._lock:
            self._stopped = True
            asked = list(self._asked.values())
        for each in asked:
            each.ending.end()

    def _may_begin(self, store: StoreSettings) -> bool:
        if store.paused or store.name in self._crew.suspended():
            return False
        with self._lock:
            pause = self._pauses.get(store.name)
            return store.name not in self._asked and (pause is None or time.monotonic() >= pause.until)

    def _is_due(self, house: House, store: StoreSettings) -> bool:
        try:
            return is_due(self._desk(house, store, Ending()))
        except ConfigError:  # of this store alone: its looks say so
            return False

    def _went_well(self, name: StoreName) -> None:
        """Bulk turns of this store do not fail, or do not any more: written down once."""
        with self._lock:
            if name in self._well:
                return
            self._well.add(name)
        self._failing.succeeded(name, BULK)

    def _taken(self, house: House, asked: _Asked) -> Ended:
        store, began = asked.store, time.monotonic()
        found: Counter[str] = Counter()
        ended: Ended = "done"
        try:
            for outcome in bulk_turn(self._desk(house, store, asked.ending)):
                found[outcome.result] += 1
                if outcome.result == "applied":
                    self._metrics.written_by_bulk(store.name, outcome.action.kind)
        except EndedEarly:
            ended = "stopped"
        except LeaseLost as lost:
            ended = "lost"
            _log.warning("bulk_lease_lost", store=store.name, error=lost.message)
        except (AccessError, ConfigError) as error:
            ended = "access"
            self._probes.refused(store.name, error)
        except (SourceError, TemporaryError, PermanentError, StateError) as error:
            ended = "failed"
            hint = error.hint or "the next turn goes on with what was begun"
            _log.warning("bulk_failed", store=store.name, error=error.message, hint=hint)
            with self._lock:
                self._well.discard(store.name)
            self._failing.failed(store.name, BULK, error)
        if ended == "done":
            self._went_well(store.name)
        if ended == "done" and not found:
            return "nothing"
        self._metrics.swept(store.name, BULK, ended)
        _log.info(
            "bulk_finished", store=store.name, result=ended, applied=found["applied"], failed=found["failed"],
            seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip
        return ended

    def _pause(self, name: StoreName, ended: Ended) -> None:
        """Until the next turn: none after one that did something, longer and longer after those that fail."""
        if ended == "done":
            self._pauses.pop(name, None)
            return
        before = self._pauses.get(name)
        seconds = self._rhythm.again_first_s
        if ended == "failed" and before is not None:
            seconds = min(before.seconds * 2, self._rhythm.again_last_s)
        self._pauses[name] = _Pause(seconds, time.monotonic() + seconds)

    def _desk(self, house: House, store: StoreSettings, ending: Ending) -> TurnDesk:
        hands = replace(house.running_hands(store), clock=self._clock, ending=ending)
        return TurnDesk(
            hands=hands,
            bulk=house.bulk(store, sleep=ending.wait, lease_s=self._rhythm.bulk_lease_s),
            queue=house.queue,
            budgets=house.state,
            owner=self._owner,
            interval_s=self._interval_s,
        )
