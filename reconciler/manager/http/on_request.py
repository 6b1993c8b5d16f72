"""`OnRequest`: documents that take long and are made when somebody asks for one: plans, explanations.

A question waits for its answer a moment. If that is not there yet, the caller gets the progress and asks again. Answers are
kept for a while, so that a page that is loaded again costs a shop nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from reconciler.core.report.pending import Pending
from reconciler.errors import ReconcilerError
from reconciler.ports import Clock

T = TypeVar("T")
AT_ONCE = 2
KEPT_MAX = 100
TAKEN_WITHIN_S = 300.0


@dataclass(slots=True)
class _Answer(Generic[T]):
    since: datetime
    done: threading.Event = field(default_factory=threading.Event)
    read: int = 0
    value: T | None = None
    error: ReconcilerError | None = None
    made_at: float = 0.0

    @property
    def age_s(self) -> float:
        """The seconds since it was made."""
        return time.monotonic() - self.made_at

    def count(self, users: int) -> None:
        self.read += users


class OnRequest(Generic[T]):
    """Answers by key, each made in a daemon thread, at most `at_once` at a time. Thread-safe."""

    def __init__(self, clock: Clock, name: str, *, at_once: int = AT_ONCE) -> None:
        self._clock, self._name = clock, name
        self._slots = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer[T]] = {}

    def get(self, key: str, make: Callable[[Callable[[int], None]], T], *, age_s: float, wait_s: float) -> T | Pending:
        """Return an answer that is at most `age_s` old, or the progress if it is not ready within `wait_s`.

        `make` is given a function that counts what it has read. Its ReconcilerError is raised here.
        """
        answer = self._answer(key, make, lambda found: found.error is None and found.age_s <= age_s)
        return self._value(answer, wait_s)

    def take(self, key: str, make: Callable[[Callable[[int], None]], T], *, wait_s: float) -> T | Pending:
        """As `get` for something that is done: the answer, or its error, is given to who asks next, and then dropped.

        So to ask for the result does not do it again. Without a question for TAKEN_WITHIN_S it is dropped too.
        """
        answer = self._answer(key, make, lambda found: found.age_s <= TAKEN_WITHIN_S)
        if answer is not None and answer.done.wait(wait_s):
            with self._lock:
                if self._answers.get(key) is answer:
                    del self._answers[key]
        return self._value(answer, 0.0)

    def _value(self, answer: _Answer[T] | None, wait_s: float) -> T | Pending:
        if answer is None or not answer.done.wait(wait_s):
            return Pending(answer.since if answer is not None else None, answer.read if answer is not None else 0)
        if answer.error is not None:
            raise answer.error
        assert answer.value is not None
        return answer.value

    def forget(self, key: str) -> None:
        """Drop the answer, since what it tells has changed. One that is being made is not kept either."""
        with self._lock:
            self._answers.pop(key, None)

    def _answer(
        self, key: str, make: Callable[[Callable[[int], None]], T], is_valid: Callable[[_Answer[T]], bool]
    ) -> _Answer[T] | None:
        """Return the answer to wait for; None while as many others are being made as may be."""
        with self._lock:
            found = self._answers.get(key)
            if found is not None and (not found.done.is_set() or is_valid(found)):
                return found
            if not self._slots.acquire(blocking=False):
                return None
            made = self._answers[key] = _Answer[T](self._clock.now())
            for old in [k for k, each in self._answers.items() if each.done.is_set()][: len(self._answers) - KEPT_MAX]:
                del self._answers[old]
        threading.Thread(target=self._make, args=(made, make), name=self._name, daemon=True).start()
        return made

    def _make(self, answer: _Answer[T], make: Callable[[Callable[[int], None]], T]) -> None:
        answer.error = ReconcilerError("this is a defect in the program", hint="see the log for the traceback")
        try:
            answer.value = make(answer.count)
            answer.error = None
        except ReconcilerError as error:
            answer.error = error
        finally:
            answer.made_at = time.monotonic()
            self._slots.release()
            answer.done.set()
