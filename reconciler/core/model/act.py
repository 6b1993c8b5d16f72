"""What operators do: who did it, and from where; and the pauses that they set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Literal

from pydantic import JsonValue

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName

Via = Literal["command", "console", "schedule"]
ActKind = Literal[
    "pause", "resume", "probe", "nudge", "approve", "reconcile", "accept", "heal", "forget", "undo", "continue", "abort"
]


@frozen
class Actor:
    """Who acts: a user of the operating system by a command, a token's name at the console, or `run` by its schedule."""

    name: str
    via: Via


@frozen
class Act:
    """One act of an operator. `store` and `user` are None for all; `detail` has what else belongs to the act."""

    at: datetime
    actor: Actor
    kind: ActKind
    store: StoreName | None = None
    user: ClerkUserId | None = None
    detail: Mapping[str, JsonValue] = field(default_factory=dict)


@frozen
class Acceptance:
    """Drift of one user in one shop that an operator has accepted in the state, beside `accept` of stores.yaml.

    Until then, these fields stay as they were edited in Shopify.
    """

    fields: tuple[str, ...]
    until: datetime
    actor: Actor
    since: datetime


@frozen
class Pause:
    """A pause in the state, beside `paused` of stores.yaml: the shop, who paused it, and since when."""

    shop: ShopDomain
    actor: Actor
    since: datetime

    @property
    def words(self) -> str:
        """`paused by ada since 2026-11-23 09:00 UTC (console)`."""
        since = self.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"paused by {self.actor.name} since {since} ({self.actor.via})"
