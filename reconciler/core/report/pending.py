"""Pending: a document that is being made, or waits until others are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """`since`: when it began; None while it waits. `read`: how many users have been read."""

    since: datetime | None
    read: int = 0
