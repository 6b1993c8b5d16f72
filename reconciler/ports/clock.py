"""The time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, aware and UTC."""

    def now(self) -> datetime: ...
