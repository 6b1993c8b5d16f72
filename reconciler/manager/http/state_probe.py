"""`StateProbe`: whether the state answers and can be written, with a time limit, so that readiness never hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from reconciler.core.model.frozen import frozen
from reconciler.errors import StateError
from reconciler.manager.threads import DaemonPool

WAIT_S = 3.0


@frozen
class _Question:
    answer: Future[Sequence[str]]
    at: float


class StateProbe:
    """One thread asks the state, one question at a time; any number of threads read the answer.

    `why`: what is known of the cause while the state does not answer; empty if nothing is.
    """

    def __init__(
        self, ask: Callable[[], Sequence[str]], *, why: Callable[[], str] = str, wait_s: float = WAIT_S
    ) -> None:
        self._ask, self._why, self._wait_s = ask, why, wait_s
        self._lock = threading.Lock()
        self._asked: _Question | None = None
        self._pool = DaemonPool(1, "state-probe")

    def reasons(self) -> Sequence[str]:
        """Return what is wrong with the state, one line each, after `wait_s` at most. No answer in time is one of them."""
        with self._lock:
            if self._asked is None or self._asked.answer.done():
                self._asked = _Question(self._pool.submit(self._answer), time.monotonic())
            asked = self._asked
        try:
            return asked.answer.result(self._wait_s)
        except TimeoutError:
            why = self._why()
            return [f"the state has not answered for {time.monotonic() - asked.at:.0f} s{f': {why}' if why else ''}"]

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _answer(self) -> Sequence[str]:
        try:
            return self._ask()
        except StateError as error:
            return [error.message]
