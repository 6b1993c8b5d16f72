"""`Outage`: how long the calls of a command wait for a peer that fails, as when its server restarts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

UNKNOWN_S: Final = 2.5  # for a peer that has not answered yet: its address may be wrong


class Outage:
    """One for each peer; `outage_s` 0: calls do not wait. Thread-safe.

    An outage is waited out once: calls of one that lasts longer fail immediately. Calls of several names have an outage
    each. It ends with an answer, and where `apart_s` pass from one failure to the beginning of the next call that fails.
    """

    def __init__(
        self, outage_s: float, *, apart_s: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outage_s = outage_s
        self._apart_s = apart_s
        self._clock = clock
        self._has_answered = False
        self._failing: dict[str, tuple[float, float]] = {}  # by name: its beginning and last failure

    def note_answer(self, call: str = "") -> None:
        self._has_answered = True
        self._failing.pop(call, None)

    def allows(self, pause_s: float, *, call: str = "", since_s: float | None = None) -> bool:
        """Note that a call failed which began at `since_s` (None: now); return whether to repeat it after this pause."""
        now_s = self._clock()
        began_s = now_s if since_s is None else since_s
        first_s, last_s = self._failing.get(call, (began_s, began_s))
        if began_s - last_s > self._apart_s:
            first_s = began_s
        self._failing[call] = first_s, now_s
        limit_s = self._outage_s if self._has_answered else min(self._outage_s, UNKNOWN_S)
        return now_s + pause_s < first_s + limit_s
