"""Pending: a document that is being made, or waits until others are made."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.model.frozen import frozen


@frozen
class Pending:
    """`since`: when it began; None while it waits. `read`: how many users have been read."""

    since: datetime | None
    read: int = 0
