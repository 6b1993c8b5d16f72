"""The clock."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A clock of aware UTC times."""

    def now(self) -> datetime: ...
