"""Faults on demand for one simulated shop.

`graphql/calls.py` asks for the fault of each call before it runs.
The module has no customers and no costs.
A fault applies to calls with the root field `on` (without it, to any call), after the first `after` of them, and then
`times` times (None: until it is cleared).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

FaultKind = Literal[
    "lost_before",  # the connection drops before the call is executed
    "lost_after",  # the call is executed, then the connection drops without a response
    "slow",  # responds after `seconds`, or when the faults are cleared
    "status_after",  # the call is executed, then HTTP `status` (503 unless set)
    "status",  # HTTP `status`, with Retry-After if `retry_after_s` is set
    "throttled",  # THROTTLED on HTTP 200, independent of the bucket
    "html",  # a page instead of JSON, with HTTP `status` (200 unless set)
    "truncated",  # the call is executed, half of the JSON arrives
    "missing_scope",  # ACCESS_DENIED
    "internal_error",  # INTERNAL_SERVER_ERROR on HTTP 200; the call is not executed
    "internal_error_after",  # the same, but the call is executed
    "user_error",  # a user error without a field; the call is not executed
    "internal_user_error",  # a user error with the code INTERNAL_ERROR; the call is not executed
    "null_payload",  # data with the root field null and no error; the call is not executed
]
KINDS: Final[frozenset[str]] = frozenset(get_args(FaultKind))
SEEN_S: Final = 0.01  # interval in which a delayed call checks whether the faults were cleared


@dataclass(slots=True)
class Fault:
    kind: FaultKind
    on: str | None = None
    when: Callable[[dict[str, Any]], bool] | None = None
    times: int | None = 1
    after: int = 0
    seconds: float = 0.0
    status: int | None = None
    retry_after_s: float | None = None
    body: str | None = None
    hits: int = 0

    def matches(self, roots: Iterable[str], variables: dict[str, Any]) -> bool:
        return (self.on is None or self.on in roots) and (self.when is None or self.when(variables))


class Faults:
    """The faults of one shop, in the order in which they were added. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._cleared = 0
        self._lock = threading.Lock()

    def add(
        self,
        kind: FaultKind,
        *,
        on: str | None = None,
        when: Callable[[dict[str, Any]], bool] | None = None,
        times: int | None = 1,
        after: int = 0,
        seconds: float = 0.0,
        status: int | None = None,
        retry_after_s: float | None = None,
        body: str | None = None,
    ) -> Fault:
        """Add a fault; `when` receives the call's variables. `hits` of the returned fault counts its applications."""
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known are {', '.join(sorted(KINDS))}")
        fault = Fault(kind, on, when, times, after, seconds, status, retry_after_s, body)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults; delayed calls continue."""
        with self._lock:
            self._faults.clear()
            self._cleared += 1

    async def met(self, roots: Iterable[str], variables: dict[str, Any], *, latency_s: float = 0.0) -> Fault | None:
        """Wait as the faults of one call require, and return the fault to apply."""
        cleared = self._cleared
        wait_s, fault = self.take(roots, variables)
        if latency_s > 0:
            await asyncio.sleep(latency_s)
        until = time.monotonic() + wait_s
        while self._cleared == cleared and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110  by another thread
            await asyncio.sleep(min(left, SEEN_S))
        return fault

    def take(self, roots: Iterable[str], variables: dict[str, Any]) -> tuple[float, Fault | None]:
        """The seconds to wait and the fault to apply to one call; counts each applicable fault once."""
        names = frozenset(roots)
        wait_s = 0.0
        chosen: Fault | None = None
        with self._lock:
            for fault in self._faults:
                if (chosen is not None and fault.kind != "slow") or not fault.matches(names, variables):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                if fault.kind == "slow":
                    wait_s += fault.seconds
                else:
                    chosen = fault
            self._faults = [fault for fault in self._faults if fault.times is None or fault.times > 0]
        return wait_s, chosen

    def pending(self) -> int:
        with self._lock:
            return len(self._faults)
